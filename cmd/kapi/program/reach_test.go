package program_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// Row P14: a level that no second step of the person reaches is told before one is asked for: no code is sent, and the client hears it.
// The same level as a wish is served with the best there is. Where a stronger first way would reach it, the person is led there.
func TestP14_NoCodeForALevelOutOfReach(t *testing.T) {
	t.Parallel()
	essential := `{"id_token":{"acr":{"essential":true,"value":"urn:kapi:loa:high"}}}`
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[postgres], func(t *testing.T) {
			k := testkapi.Start(t, testkapi.Options{Postgres: postgres})
			k.People(people)
			strict, mild := k.RP("strict", map[string]any{"kapi_min_acr": "high"}), k.RP("mild", nil)
			for _, address := range []string{strict.URL(), mild.URL("claims", essential)} {
				b := testkapi.NewBrowser(t)
				b.Open(address).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
				if got := b.Left().Query(); got.Get("error") != "unmet_authentication_requirements" || got.Has("code") {
					t.Fatalf("%s: %v", address, got)
				}
			}
			if n := len(codesTo(k, aysePhone)); n != 0 {
				t.Fatalf("%d codes were sent for nothing", n)
			}
			b := testkapi.NewBrowser(t)
			b.Open(mild.URL("acr_values", "urn:kapi:loa:high"))
			signIn(k, b, ayse, aysePassword, aysePhone, 1)
			if got := mild.Answer(b).Claims; got.ACR != substantial {
				t.Errorf("a wish: %s", got.ACR)
			}
			b.Open(mild.URL("prompt", "none", "claims", essential))
			if got := b.Left().Query().Get("error"); got != "interaction_required" {
				t.Errorf("silent: %q", got)
			}
		})
	}

	t.Run("a stronger way", func(t *testing.T) {
		k := testkapi.Start(t, testkapi.Options{Factors: testkapi.Signature})
		k.People(people)
		strict, mild := k.RP("strict", map[string]any{"kapi_min_acr": "high"}), k.RP("mild", nil)
		strong := []string{"sc", "hwk", "pin", "sms", "mca", "mfa"}
		// Who is not known yet is asked for what reaches the level, and for nothing else.
		fresh := testkapi.NewBrowser(t)
		fresh.Open(strict.URL()).See("Sign").DontSee("Password").Submit(map[string]string{"national_id": ayse, "signature": "signed"})
		fresh.Submit(map[string]string{"code": codeAfter(t, k, aysePhone, 0)})
		if got := strict.Answer(fresh).Claims; got.ACR != high || !slices.Equal(got.AMR, strong) {
			t.Fatalf("acr %s amr %v", got.ACR, got.AMR)
		}
		// A session by password does not reach it: no code, but a page that leads to what does.
		k.Clock.Add(16 * time.Minute)
		b := testkapi.NewBrowser(t)
		b.Open(mild.URL())
		b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		b.Submit(map[string]string{"code": codeAfter(t, k, aysePhone, 1)})
		first := mild.Answer(b).Claims
		k.Clock.Add(time.Minute)
		b.Open(strict.URL()).See("wants a stronger sign-in", "no code", "Signature").Press("Signature")
		if n := len(codesTo(k, aysePhone)); n != 2 {
			t.Fatalf("%d codes before the level could be reached", n)
		}
		b.See("Sign").Submit(map[string]string{"national_id": ayse, "signature": "signed"})
		b.Submit(map[string]string{"code": codeAfter(t, k, aysePhone, 2)})
		got := strict.Answer(b).Claims
		if got.ACR != high || !slices.Equal(got.AMR, strong) || got.SID == "" || got.AuthTime <= first.AuthTime {
			t.Errorf("acr %s amr %v sid %q", got.ACR, got.AMR, got.SID)
		}
		// Going back is the error, and no way leads past the page.
		other := testkapi.NewBrowser(t)
		k.Clock.Add(16 * time.Minute)
		other.Open(mild.URL()).Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword})
		mild.Answer(other)
		other.Open(strict.URL()).See("wants a stronger sign-in").Press("Back to the service")
		if got := other.Left().Query().Get("error"); got != "unmet_authentication_requirements" {
			t.Errorf("back: %q", got)
		}
	})
}
