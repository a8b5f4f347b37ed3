package program_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// bank is a partner's machine.
type bank struct {
	k   *country
	id  string
	key *ecdsa.PrivateKey
}

func newBank(t *testing.T, k *country, id string) *bank {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.RP(id, map[string]any{
		"client_secret": nil, "redirect_uris": nil, "post_logout_redirect_uris": nil, "token_endpoint_auth_method": "private_key_jwt", "institution": "A Bank",
		"grant_types": []string{"client_credentials"}, "scope": "simblock:release", "jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}},
	})
	return &bank{k: k, id: id, key: key}
}

// token gets an access token by the bank's own key.
func (b *bank) token(t *testing.T) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: b.key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := b.k.Clock.Now().Unix()
	claims, _ := json.Marshal(map[string]any{"iss": b.id, "sub": b.id, "aud": b.k.URL, "jti": uuid.NewString(), "iat": now, "exp": now + 60})
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	r := send(t, nil, http.MethodPost, b.k.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"simblock:release"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}})
	if r.Status != http.StatusOK {
		t.Fatalf("token: %d %s", r.Status, r.Body)
	}
	return member(t, r.Body, "access_token")
}

func (b *bank) post(t *testing.T, token string, body any) (int, string) {
	t.Helper()
	raw, isText := body.(string)
	if !isText {
		j, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(j)
	}
	r, err := http.NewRequest(http.MethodPost, b.k.URL+"/partner/v1/sim-unblock", strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	_, _ = out.ReadFrom(resp.Body)
	return resp.StatusCode, out.String()
}

func (b *bank) body(number, transaction string) map[string]any {
	return map[string]any{"national_id": number, "atm_id": "ATM 17, Kadıköy", "transaction_id": transaction, "verified_at": b.k.Clock.Now().Add(-time.Minute).Format(time.RFC3339)}
}

func (b *bank) release(t *testing.T, number, transaction string) int {
	t.Helper()
	status, _ := b.post(t, b.token(t), b.body(number, transaction))
	return status
}

// Row RC5, R209: the bank's ATM. Idempotent by its transaction, for the configured bank alone, and never for a person who is not blocked.
func TestRC5_PartnerBank(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp, b := k.RP("ssi", nil), newBank(t, k, "bank")
		k.works(rp)
		if status := b.release(t, ayse, "t0"); status != http.StatusConflict {
			t.Errorf("not blocked: %d", status)
		}
		if status := b.release(t, number(5), "t0"); status != http.StatusNotFound {
			t.Errorf("nobody: %d", status)
		}
		k.swap(aysePhone)
		k.blocked(rp)

		// Who may not.
		machine := k.RP("machine", map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil})
		r := machinePost(t, k.Kapi, machine, "/oauth/token", url.Values{"grant_type": {"client_credentials"}})
		other := member(t, r.Body, "access_token")
		for token, want := range map[string]int{"": http.StatusUnauthorized, "made-up": http.StatusUnauthorized, other: http.StatusForbidden} {
			if status, body := b.post(t, token, b.body(ayse, "t1")); status != want {
				t.Errorf("token %.10q: %d %s", token, status, body)
			}
		}
		person := testkapi.NewBrowser(t)
		person.Open(rp.URL())
		signIn(k.Kapi, person, hasan, hasanPassword, "", 0)
		if status, _ := b.post(t, rp.Answer(person).AccessToken, b.body(ayse, "t1")); status != http.StatusUnauthorized {
			t.Errorf("a person's token: %d", status)
		}
		// What may not be said.
		token := b.token(t)
		with := func(name string, v any) map[string]any {
			m := b.body(ayse, "t1")
			m[name] = v
			return m
		}
		for _, bad := range []any{
			"", "[]", "{", with("national_id", "10000000145"), with("national_id", 10000000146), with("atm_id", ""), with("transaction_id", ""), with("transaction_id", strings.Repeat("x", 129)),
			with("verified_at", k.Clock.Now().Add(-11*time.Minute).Format(time.RFC3339)), with("verified_at", k.Clock.Now().Add(time.Hour).Format(time.RFC3339)), with("verified_at", nil),
			with("phone", "+905550000009"), with("atm_id", "a\nb"),
		} {
			if status, _ := b.post(t, token, bad); status != http.StatusBadRequest {
				t.Errorf("%v: %d", bad, status)
			}
		}
		k.blocked(rp)

		same := b.body(ayse, "t1")
		for range 3 {
			if status, body := b.post(t, token, same); status != http.StatusNoContent {
				t.Fatalf("%d %s", status, body)
			}
		}
		if status, _ := b.post(t, token, b.body(mehmet, "t1")); status != http.StatusConflict {
			t.Errorf("the transaction for somebody else: %d", status)
		}
		k.works(rp)
		// A repetition after the next change is still nothing but a repetition.
		k.swap(aysePhone)
		k.blocked(rp)
		if status, _ := b.post(t, b.token(t), same); status != http.StatusNoContent {
			t.Errorf("%d", status)
		}
		k.blocked(rp)
	})
}

// Two requests at once with one transaction unblock once.
func TestRC5_PartnerRace(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp, b := k.RP("ssi", nil), newBank(t, k, "bank")
		k.works(rp)
		k.swap(aysePhone)
		k.blocked(rp)
		token, body := b.token(t), b.body(ayse, "t1")
		race(10, func(int) {
			if status, text := b.post(t, token, body); status != http.StatusNoContent {
				t.Errorf("%d %s", status, text)
			}
		})
		k.works(rp)
	})
}
