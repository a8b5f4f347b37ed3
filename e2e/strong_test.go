package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// stronglyEnv makes this test's own binary a kapi serve with one more first factor: the strong one that exists only in tests. It is the file
// by which a story moves its clock.
const stronglyEnv = "E2E_STRONGLY"

func serveStrongly(clock string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	env := slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, "KAPI_TEST_CLOCK=") }) // which only a test build takes
	now := func() time.Time {
		text, _ := os.ReadFile(clock)
		shift, _ := time.ParseDuration(string(text))
		return time.Now().UTC().Add(shift)
	}
	s, err := program.Resolve(nil, env)
	if err == nil {
		var a *program.App
		a, err = program.New(ctx, s, program.Options{Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Factors: testkapi.Signature, Now: now, Database: now})
		if err == nil {
			defer a.Close()
			err = a.Serve(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kapi:", err)
		return 1
	}
	return 0
}

// Strongly replaces the only replica by one that knows a strong way to sign in.
func (c *Country) Strongly() {
	c.t.Helper()
	path, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	c.replicas[0].kill()
	r := c.serve(path, stronglyEnv+"="+c.dir+"/clock")
	c.replicas[0] = r
	c.await(r)
}

// Signs by hand, so to say.
func (b *Browser) Signs(p Person) *Browser {
	b.t.Helper()
	return b.Press(b.in("Signature", "İmza")).Type("national_id", p.NationalID).Type("signature", "signed").Submit()
}

// bank registers a bank and returns what its cash machine does for a citizen who stands before it.
func (c *Country) bank() (vouches func(Person)) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	c.kapi("client", "apply", c.file("bank.json", []any{map[string]any{"client_id": "bank", "client_name": "A Bank", "institution": "A Bank", "token_endpoint_auth_method": "private_key_jwt",
		"grant_types": []string{"client_credentials"}, "scope": "simblock:release",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}}}}))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	post := func(path, kind, token string, body []byte, want int) (answer struct {
		Token string `json:"access_token"`
	}) {
		c.t.Helper()
		r, err := http.NewRequest(http.MethodPost, c.Issuer+path, bytes.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			c.t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			c.t.Fatalf("bank: %s: %d %s", path, resp.StatusCode, text)
		}
		_ = json.Unmarshal(text, &answer)
		return answer
	}
	return func(p Person) {
		c.t.Helper()
		now := c.now()
		claims, _ := json.Marshal(map[string]any{"iss": "bank", "sub": "bank", "aud": c.Issuer, "jti": uuid.NewString(), "iat": now.Unix(), "exp": now.Unix() + 60})
		signed, err := signer.Sign(claims)
		if err != nil {
			c.t.Fatal(err)
		}
		assertion, err := signed.CompactSerialize()
		if err != nil {
			c.t.Fatal(err)
		}
		token := post("/oauth/token", "application/x-www-form-urlencoded", "", []byte(url.Values{"grant_type": {"client_credentials"}, "scope": {"simblock:release"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}.Encode()), http.StatusOK).Token
		body, _ := json.Marshal(map[string]any{"national_id": p.NationalID, "atm_id": "ATM 17, Kadıköy", "transaction_id": uuid.NewString(), "verified_at": now.Add(-time.Minute).Format(time.RFC3339)})
		post("/partner/v1/sim-unblock", "application/json", token, body, http.StatusNoContent)
	}
}

// The other ways to confirm a changed SIM card: the bank's cash machine, and a strong sign-in with a code at the number. And what only the strong
// way may do: close the password.
func TestSIMCardConfirmedByTheBankOrStrongly(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		if !how.Turkish {
			onlySlowly(t)
		}
		c, op := Equipped(t)
		c.Strongly()
		vouches, ayse := c.bank(), who(t, "Ayşe")
		c.changesSIM(op, ayse)
		b := Visit(t, how)
		b.Open(c.Portal+"/login").SignsIn(ayse).See("Your SIM card was changed", "an ATM of a partner bank of yours")
		vouches(ayse)
		c.Pass(2 * time.Minute)
		b.Press("Back to the service").Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal).See(b.bothSteps())

		c.Pass(time.Hour)
		c.changesSIM(op, ayse)
		again := Visit(t, how)
		again.Open(c.Portal + "/login").SignsIn(ayse).See("Your SIM card was changed").Press("Confirm my new SIM card")
		again.Signs(ayse).At(c.Issuer+"/me/unblock").Press("Send a code to my number").Confirms(c, ayse).See("Your number has been unblocked. You can receive security codes again.")

		c.Pass(time.Hour)
		strong := Visit(t, how)
		strong.Open(c.Issuer+"/me/security/access").Signs(ayse).Confirms(c, ayse).Press("Close").See("Close this way to sign in?").Submit().See("This way to sign in is closed.")
		closed := Visit(t, how)
		closed.Open(c.Portal + "/login").SignsIn(ayse).See("The ID number or the password is wrong. Check them and try again.")
		closed.Signs(ayse).Confirms(c, ayse).At(c.Portal).See(b.in("High", "Yüksek"))
	})
}
