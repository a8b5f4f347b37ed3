package program_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// P6: an assertion proves a client once, in whichever hands and at whichever replica and endpoint it comes again.
func TestP6_AssertionReplay(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.RP("machine", map[string]any{
			"client_secret": nil, "redirect_uris": nil, "post_logout_redirect_uris": nil, "token_endpoint_auth_method": "private_key_jwt", "scope": "notices:read",
			"grant_types": []string{"client_credentials"}, "jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}},
		})
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		assertion := func(life time.Duration) url.Values {
			t.Helper()
			now := k.Clock.Now()
			claims, _ := json.Marshal(map[string]any{"iss": "machine", "sub": "machine", "aud": k.URL, "jti": uuid.NewString(), "iat": now.Unix(), "exp": now.Add(life).Unix()})
			signed, err := signer.Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			compact, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			return url.Values{"grant_type": {"client_credentials"}, "token": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {compact}}
		}
		post := func(path string, form url.Values) reply { return send(t, nil, http.MethodPost, k.URL+path, form) }
		for range rounds() / 4 {
			form := assertion(5 * time.Minute)
			answers := make([]reply, 20)
			race(len(answers), func(i int) { answers[i] = post("/oauth/token", form) })
			won := 0
			for _, r := range answers {
				switch {
				case r.Status == http.StatusOK && member(t, r.Body, "scope") == "notices:read":
					won++
				case r.Status != http.StatusUnauthorized || oauthError(r) != "invalid_client":
					t.Errorf("%d %s", r.Status, r.Body)
				}
			}
			if won != 1 {
				t.Fatalf("one assertion proved the client %d times", won)
			}
			// Also at the other replica, at the other endpoints, and up to its last second with the leeway for clocks.
			for _, wait := range []time.Duration{0, 5*time.Minute - time.Second, time.Minute} {
				k.Clock.Add(wait)
				everywhere(k, func(replica int) {
					for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke"} {
						if r := post(path, form); r.Status != http.StatusUnauthorized || oauthError(r) != "invalid_client" {
							t.Errorf("again at %s of replica %d: %d %s", path, replica, r.Status, r.Body)
						}
					}
				})
			}
		}
		everywhere(k, func(replica int) { // and fresh ones are taken at each
			if r := post("/oauth/introspect", assertion(time.Minute)); r.Status != http.StatusOK {
				t.Errorf("replica %d: %d %s", replica, r.Status, r.Body)
			}
		})
	})
}
