package program_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// The people of the journeys. Ayşe has two-factor on; Mehmet a proven phone; Zeynep an office password; Hasan no phone.
const people = `[
 {"national_id":"10000000146","kind":"citizen","given_name":"Ayşe","family_name":"Yılmaz","birthdate":"1985-04-23","locale":"tr",
  "phone":"+905550000001","phone_grade":"id_verified","password":"mavi kapı sabah 7","two_factor":true},
 {"national_id":"20000000282","kind":"citizen","given_name":"Mehmet","family_name":"Demir","birthdate":"1990-11-02",
  "phone":"+905550000002","phone_grade":"id_verified","password":"yeşil vapur akşam 3"},
 {"national_id":"30000000328","kind":"citizen","given_name":"Zeynep","family_name":"Kaya","birthdate":"1978-01-30","password":"482915","password_temporary":true},
 {"national_id":"40000000464","kind":"citizen","given_name":"Hasan","family_name":"Çelik","birthdate":"1951-06-14","password":"eski saat kulesi 5"}]`

const (
	ayse, aysePassword, aysePhone       = "10000000146", "mavi kapı sabah 7", "+905550000001"
	mehmet, mehmetPassword, mehmetPhone = "20000000282", "yeşil vapur akşam 3", "+905550000002"
	zeynep, zeynepPassword              = "30000000328", "482915"
	hasan, hasanPassword                = "40000000464", "eski saat kulesi 5"
	substantial, low                    = "urn:kapi:loa:substantial", "urn:kapi:loa:low"
	essential                           = `{"id_token":{"acr":{"essential":true,"values":["urn:kapi:loa:substantial"]}}}`
	wrongSignIn, secondStep, codeIsTwo  = "The ID number or the password is wrong", "phone ending 01", "phone ending 02"
)

func each(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		test(t, k)
	})
}

// signIn types a password, and the n-th code that came to the phone if one is named.
func signIn(k *testkapi.Kapi, b *testkapi.Browser, number, password, phone string, n int) {
	b.T.Helper()
	b.Submit(map[string]string{"national_id": number, "password": password})
	if phone != "" {
		b.Submit(map[string]string{"code": k.Phone.Code(b.T, phone, n)})
	}
}

func TestTheMainJob(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL()).See("The ssi service", "Sign in")
		b.Submit(map[string]string{"national_id": "100 0000 0146", "password": aysePassword}).See(secondStep)
		k.Clock.Add(7 * time.Second)
		b.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 1)})
		got := rp.Answer(b).Claims
		if got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "sms", "mca", "mfa"}) {
			t.Errorf("acr %s amr %v", got.ACR, got.AMR)
		}
		if !strings.HasPrefix(got.Subject, "pw_") || got.SID == "" || got.AuthTime != k.Clock.Now().Unix() {
			t.Errorf("%+v", got)
		}
		if len(got.Steps) != 2 || got.Steps[0].Method != "password" || got.Steps[1].Method != "sms" || got.Steps[1].Time-got.Steps[0].Time != 7 {
			t.Errorf("auth_steps %v", got.Steps)
		}
		if k.Hashes.Load() == 0 {
			t.Error("no hash was computed")
		}
	})
}

func TestSingleSignOnKeepsWhatHappened(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		one, two, b := k.RP("one", nil), k.RP("two", nil), testkapi.NewBrowser(t)
		b.Open(one.URL())
		signIn(k, b, ayse, aysePassword, aysePhone, 1)
		first := one.Answer(b).Claims
		k.Clock.Add(10 * time.Minute)
		b.Open(two.URL())
		second := two.Answer(b).Claims
		if !slices.Equal(first.AMR, second.AMR) || first.ACR != second.ACR || first.AuthTime != second.AuthTime {
			t.Errorf("%+v\n%+v", first, second)
		}
		if first.Subject == second.Subject || first.SID == second.SID {
			t.Error("two institutions can compare what they got")
		}
		if texts := k.Phone.Inbox(aysePhone); len(texts) != 1 {
			t.Errorf("%d codes for one sign-in", len(texts))
		}
	})
}

func TestStepUp(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		before := rp.Answer(b).Claims
		if before.ACR != low || !slices.Equal(before.AMR, []string{"pwd"}) {
			t.Errorf("acr %s amr %v", before.ACR, before.AMR)
		}
		cookie := b.Cookie("kapi-session")
		k.Clock.Add(5 * time.Minute)
		b.Open(rp.URL("acr_values", substantial)).See(codeIsTwo).DontSee("Password")
		b.Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 1)})
		after := rp.Answer(b).Claims
		if after.ACR != substantial || !slices.Equal(after.AMR, []string{"pwd", "sms", "mca", "mfa"}) || after.AuthTime != k.Clock.Now().Unix() {
			t.Errorf("%+v", after)
		}
		if after.Subject != before.Subject || after.SID != before.SID {
			t.Error("a step-up made another person or session")
		}
		if b.Cookie("kapi-session") == cookie {
			t.Error("the session's token stayed the same when its privilege rose")
		}
	})
}

func TestP14_OutOfReach(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		t.Run("a wish gets what was reached", func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL("acr_values", substantial))
			signIn(k, b, hasan, hasanPassword, "", 0)
			b.See("ID-verified phone").Press("Continue")
			if got := rp.Answer(b).Claims; got.ACR != low {
				t.Errorf("acr %s", got.ACR)
			}
		})
		t.Run("a need gets its error", func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL("claims", essential))
			signIn(k, b, hasan, hasanPassword, "", 0)
			b.See("ID-verified phone").Press("ack to the service")
			if code, _ := rp.Refused(b); code != "unmet_authentication_requirements" {
				t.Errorf("error %s", code)
			}
		})
		t.Run("the client's own minimum is a need", func(t *testing.T) {
			strict, b := k.RP("strict", map[string]any{"kapi_min_acr": "substantial"}), testkapi.NewBrowser(t)
			b.Open(strict.URL())
			signIn(k, b, hasan, hasanPassword, "", 0)
			b.Press("ack to the service")
			if code, _ := strict.Refused(b); code != "unmet_authentication_requirements" {
				t.Errorf("error %s", code)
			}
		})
		t.Run("nobody may be asked", func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL("prompt", "none"))
			if code, _ := rp.Refused(b); code != "login_required" {
				t.Errorf("error %s", code)
			}
			b.Open(rp.URL())
			signIn(k, b, mehmet, mehmetPassword, "", 0)
			rp.Answer(b)
			b.Open(rp.URL("prompt", "none"))
			rp.Answer(b)
			b.Open(rp.URL("prompt", "none", "acr_values", substantial))
			if code, _ := rp.Refused(b); code != "interaction_required" {
				t.Errorf("error %s", code)
			}
		})
		t.Run("nobody may be asked, and it would not help", func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL())
			signIn(k, b, hasan, hasanPassword, "", 0)
			rp.Answer(b)
			b.Open(rp.URL("prompt", "none", "acr_values", substantial))
			if got := rp.Answer(b).Claims; got.ACR != low {
				t.Errorf("acr %s", got.ACR)
			}
			b.Open(rp.URL("prompt", "none", "claims", `{"id_token":{"acr":{"essential":true,"values":["`+substantial+`"]}}}`))
			if code, _ := rp.Refused(b); code != "interaction_required" {
				t.Errorf("error %s", code)
			}
		})
		t.Run("a fresh sign-in", func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL("acr_values", substantial))
			signIn(k, b, mehmet, mehmetPassword, mehmetPhone, len(k.Phone.Inbox(mehmetPhone))+1)
			rp.Answer(b)
			k.Clock.Add(2 * time.Second)
			for _, ask := range [][]string{{"prompt", "login"}, {"max_age", "1"}, {"max_age", "0"}} {
				b.Open(rp.URL(ask...)).See("Password")
				signIn(k, b, mehmet, mehmetPassword, "", 0)
				if got := rp.Answer(b).Claims; got.ACR != low || got.AuthTime != k.Clock.Now().Unix() {
					t.Errorf("%v: the old session's proofs count: %+v", ask, got)
				}
				k.Clock.Add(2 * time.Second)
			}
		})
	})
}

func TestForcedPasswordChange(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, zeynep, zeynepPassword, "", 0)
		if b.Left() != nil {
			t.Fatal("let through with a temporary password")
		}
		b.Submit(map[string]string{"new_password": "short"})
		if b.Left() != nil {
			t.Fatal("let through with a bad new password")
		}
		b.Submit(map[string]string{"new_password": "gökyüzü altında çay"})
		if got := rp.Answer(b).Claims; got.ACR != low {
			t.Errorf("%+v", got)
		}
		again := testkapi.NewBrowser(t)
		again.Open(rp.URL())
		signIn(k, again, zeynep, zeynepPassword, "", 0)
		again.See(wrongSignIn)
		signIn(k, again, zeynep, "gökyüzü altında çay", "", 0)
		rp.Answer(again)
	})
}

func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL()).Press("Back to the service")
		if code, why := rp.Refused(b); code != "access_denied" || why != "user_cancelled" {
			t.Errorf("%s %s", code, why)
		}
	})
}

func TestAnotherBrowserCannotGoOn(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b, thief := k.RP("ssi", nil), testkapi.NewBrowser(t), testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See(secondStep)
		page := b.URL.String()
		if thief.Open(page); thief.Status < 400 {
			t.Errorf("another browser sees %d", thief.Status)
		}
		b.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 1)})
		rp.Answer(b)
		id := strings.Split(page, "/")[4]
		if b.Open(k.URL + "/authorize/callback?id=" + id); b.Left() != nil || b.Status < 400 {
			t.Errorf("the callback answered twice: %d %v", b.Status, b.Left())
		}
		if b.Open(page); b.Left() != nil {
			t.Error("the finished sign-in can be entered again")
		}
	})
}

func TestTwoTabs(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		second := *rp
		first := testkapi.NewBrowser(t)
		first.Client.Jar = b.Client.Jar
		first.Open(rp.URL())
		b.Open(second.URL()).Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword})
		if got := second.Answer(b).Claims; got.ACR != low {
			t.Errorf("%+v", got)
		}
		// The first tab goes on for itself, in the same browser.
		first.Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword})
		if got := rp.Answer(first).Claims; got.ACR != low {
			t.Errorf("%+v", got)
		}
	})
}

func TestB1_AnotherPersonEndsTheSession(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		tokens := rp.Answer(b)
		old := b.Cookie("kapi-session")
		b.Open(rp.URL("prompt", "login"))
		signIn(k, b, hasan, hasanPassword, "", 0)
		other := rp.Answer(b)
		if other.Claims.Subject == tokens.Claims.Subject || other.Claims.SID == tokens.Claims.SID || b.Cookie("kapi-session") == old {
			t.Error("the old session lives on")
		}
		if userinfo(t, k, tokens.AccessToken) != 401 {
			t.Error("the ended session's access token works")
		}
	})
}

func TestRefreshAndReuse(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile offline_access"})
		rp.OAuth.Scopes = []string{"openid", "offline_access"}
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, ayse, aysePassword, aysePhone, 1)
		one := rp.Answer(b)
		if one.RefreshToken == "" {
			t.Fatal("no refresh token")
		}
		refresh := func(token string) (testkapi.Tokens, error) {
			got, err := rp.OAuth.TokenSource(context.Background(), &oauth2.Token{RefreshToken: token}).Token()
			if err != nil {
				return testkapi.Tokens{}, err
			}
			return rp.Verify(got, ""), nil
		}
		k.Clock.Add(20 * time.Minute)
		two, err := refresh(one.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if two.Claims.ACR != substantial || two.Claims.AuthTime != one.Claims.AuthTime || two.Claims.Subject != one.Claims.Subject {
			t.Errorf("a refresh changed the facts: %+v", two.Claims)
		}
		again, err := refresh(one.RefreshToken)
		if err != nil || again.RefreshToken != two.RefreshToken {
			t.Errorf("within the grace: %v, another successor %v", err, again.RefreshToken != two.RefreshToken)
		}
		k.Clock.Add(6 * time.Second)
		if _, err := refresh(one.RefreshToken); err == nil {
			t.Error("an old refresh token works after the grace")
		}
		if _, err := refresh(two.RefreshToken); err == nil {
			t.Error("the family lives after a reuse")
		}
		if userinfo(t, k, two.AccessToken) != 401 {
			t.Error("an access token of the dead family works")
		}
	})
}
