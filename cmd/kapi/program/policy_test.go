package program_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// A client that takes neither SMS nor backup codes: Ayşe is asked for her key app and for nothing else, whatever she proved
// elsewhere; who has nothing that the client takes is told so, and the client gets the error that says it.
func TestPolicy_RefusedSeconds(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		app := keyApp(t, k)
		backupCodes(t, k)
		k.Clock.Add(16 * time.Minute)
		mild := k.RP("mild", nil)
		strict := k.RP("strict", map[string]any{"kapi_refused_second": []string{"sms", "backup"}, "kapi_min_acr": "substantial"})
		b, before := testkapi.NewBrowser(t), len(codesTo(k, aysePhone))
		b.Open(mild.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).Press("Security code by SMS")
		b.Submit(map[string]string{"code": codeAfter(t, k, aysePhone, before)})
		if got := mild.Answer(b).Claims; !slices.Contains(got.AMR, "sms") {
			t.Fatalf("amr %v", got.AMR)
		}
		k.Clock.Add(time.Minute)
		b.Open(strict.URL()).See("Enter the code from your key app").DontSee("SMS").DontSee("Backup code").DontSee("Password")
		b.Submit(map[string]string{"code": app(k.Clock.Now())})
		if got := strict.Answer(b).Claims; got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "otp", "mfa"}) {
			t.Errorf("acr %s amr %v", got.ACR, got.AMR)
		}
		// Mehmet has a phone and nothing else.
		other := testkapi.NewBrowser(t)
		other.Open(strict.URL()).Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword}).See("does not take your way", "Open the security settings")
		other.Press("Back to the service")
		if got := other.Left().Query().Get("error"); got != "unmet_authentication_requirements" {
			t.Errorf("error %q", got)
		}
	})
}

// codeAfter is the code that comes after the n-th.
func codeAfter(t *testing.T, k *testkapi.Kapi, phone string, n int) string {
	t.Helper()
	var codes []string
	eventually(t, "a code comes", func() bool {
		codes = codesTo(k, phone)
		return len(codes) > n
	})
	return codes[n]
}

// The cut-over of an institution (R220): until the day a password is enough, from then on nobody comes in with less than two
// factors, not with the session of the day before either, and what is missing is all that is asked.
func TestPolicy_CutOver(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{"kapi_mfa_required_from": k.Clock.Now().Add(10 * time.Minute).Format(time.RFC3339)})
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		if got := rp.Answer(b).Claims; got.ACR != low {
			t.Fatalf("before: %s", got.ACR)
		}
		k.Clock.Add(10 * time.Minute)
		b.Open(rp.URL()).See(codeIsTwo).DontSee("Password")
		b.Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 1)})
		if got := rp.Answer(b).Claims; got.ACR != substantial {
			t.Errorf("after: %s", got.ACR)
		}
		silent := testkapi.NewBrowser(t)
		silent.Open(rp.URL("prompt", "none"))
		if got := silent.Left().Query().Get("error"); !strings.HasSuffix(got, "_required") {
			t.Errorf("silent: %q", got)
		}
	})
}
