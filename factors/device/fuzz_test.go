package device

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/fault"
)

// fuzzed is a factor with one registered device and one request that waits.
type fuzzed struct {
	f   *Factor
	key *ecdsa.PrivateKey
	d   device
	try factors.Try
	r   request
}

func newFuzzed(t testing.TB) *fuzzed {
	kit := factortest.NewKit(factortest.Start)
	z := &fuzzed{f: New(kit.Factors(), Options{})}
	var err error
	if z.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	p, err := z.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	rec := record{Name: "x", Platform: "web", Key: jwk{Kty: "EC", Crv: "P-256", X: b64.EncodeToString(p[1:33]), Y: b64.EncodeToString(p[33:])}}
	data, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kit.Credentials.Create(t.Context(), factors.Credential{ID: "device-0000000000", Account: "a1", Handle: deviceOf("a1"), State: active, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if z.d, err = read(c); err != nil {
		t.Fatal(err)
	}
	z.try = factors.Try{Binding: "t1", Purpose: factors.SignIn, Account: "a1", Service: "x"}
	if _, err := z.f.Begin(t.Context(), z.try); err != nil {
		t.Fatal(err)
	}
	if z.r, err = z.f.find(t.Context(), z.try); err != nil {
		t.Fatal(err)
	}
	return z
}

func (z *fuzzed) sign(header, claims string) string {
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, z.key, sum[:])
	if err != nil {
		panic(err)
	}
	var sig [64]byte
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + b64.EncodeToString(sig[:])
}

// Whatever stands in Kapi-Device of somebody without the key, nothing is let through and nothing breaks.
func FuzzProofHeader(f *testing.F) {
	z := newFuzzed(f)
	good := `{"alg":"ES256","typ":"kapi-device+jwt","kid":"device-0000000000"}`
	for _, s := range []string{"", "a.b.c", "..", good, z.sign(good, `{}`), z.sign(`{"alg":"none"}`, `{}`), strings.Repeat("a.", 100), "\x00", "é.é.é"} {
		f.Add(s, "web/1.0.0")
	}
	f.Add("", "")
	f.Fuzz(func(t *testing.T, header, app string) {
		for _, c := range [][2]string{{"GET", "/v1/me"}, {"DELETE", "/v1/me"}, {"POST", "/v1/scan"}} {
			r := httptest.NewRequest(c[0], c[1], nil)
			r.Header["Kapi-Device"], r.Header["Kapi-App"] = []string{header}, []string{app}
			w := httptest.NewRecorder()
			z.f.Endpoints().ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusBadRequest {
				t.Fatalf("%s: %d %s", c[0], w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Fatalf("no problem: %s", w.Body)
			}
		}
	})
}

// Even with the key, only what was asked is a yes: a statement of any claims never changes what is executed.
func FuzzStatement(f *testing.F) {
	z := newFuzzed(f)
	now := z.f.now().Unix()
	whole, err := json.Marshal(statement{Iss: z.d.ID, Aud: z.f.kit.Issuer, Challenge: z.r.Challenge, Decision: yes, Number: z.r.Number, Door: DoorList, Ctr: 1, Iat: now})
	if err != nil {
		f.Fatal(err)
	}
	const header = `{"alg":"ES256","typ":"kapi-approval+jwt","kid":"device-0000000000"}`
	f.Add(header, string(whole))
	f.Add(header, strings.Replace(string(whole), "approve", "deny", 1))
	f.Add(header, `{"challenge":null}`)
	f.Add(header, string(whole)+"{}")
	f.Add(`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"device-0000000000","crit":["x"],"x":1}`, string(whole))
	f.Add(`[]`, `[]`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		st, err := z.f.said(z.d, z.r, z.sign(header, claims), yes, false)
		if err != nil {
			return
		}
		if st.Challenge != z.r.Challenge || st.Decision != yes || st.Iss != z.d.ID || st.Aud != z.f.kit.Issuer || st.Ctr < 1 {
			t.Fatalf("taken: %+v", st)
		}
	})
}

// Whatever a browser sends in the field code is a wrong answer at most.
func FuzzCode(f *testing.F) {
	z := newFuzzed(f)
	for _, s := range []string{"", "000000", "a.b.c", z.sign(`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"device-0000000000"}`, `{}`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, code string) {
		p, err := z.f.Verify(context.Background(), z.try, factors.Answer{"code": {code}})
		if err == nil || fault.KindOf(err) == fault.Internal || p.Factor != "" {
			t.Fatalf("%+v %v", p, err)
		}
	})
}

// A registration of a stranger is refused and breaks nothing.
func FuzzRegister(f *testing.F) {
	z := newFuzzed(f)
	for _, s := range []string{"", "{}", "[]", `{"pairing":"` + strings.Repeat("A", 26) + `"}`,
		`{"pairing":"00000000000000000000000000","name":"x","platform":"web","app_version":"1.0.0","key":{"kty":"EC","crv":"P-256","x":"","y":""},"proof":"a.b.c"}`,
		`{"name":"\ud800","push":{"kind":"webpush","endpoint":"https://[::1]/"}}`, strings.Repeat("[", 10000)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/register", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Kapi-App", "web/1.0.0")
		w := httptest.NewRecorder()
		z.f.Endpoints().ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// A pairing code reads one way however it is typed, and what is shown stays in its line.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{newPairing(), strings.ToLower(newPairing()), "O0I1L" + strings.Repeat("Z", 21), " - ", "é", "\u202ex"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if code, ok := readPairing(s); ok {
			again, ok := readPairing(code)
			if !ok || again != code || len(code) != pairingLength {
				t.Fatalf("%q reads %q, then %q", s, code, again)
			}
		}
		shown := clean(s, 40)
		if utf8.RuneCountInString(shown) > 40 || !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Fatalf("%q shows %q", s, shown)
		}
		if clean(shown, 40) != shown {
			t.Fatalf("%q shows %q, then %q", s, shown, clean(shown, 40))
		}
	})
}

// The header says exactly what it must; a good signature does not make up for another one (RFC 8725 §3.1, §3.11).
func TestHeaders(t *testing.T) {
	z := newFuzzed(t)
	for header, good := range map[string]bool{
		`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"x"}`:                              true,
		`{"alg":"none","typ":"kapi-approval+jwt","kid":"x"}`:                               false,
		`{"alg":"HS256","typ":"kapi-approval+jwt","kid":"x"}`:                              false,
		`{"alg":"es256","typ":"kapi-approval+jwt","kid":"x"}`:                              false,
		`{"typ":"kapi-approval+jwt","kid":"x"}`:                                            false,
		`{"alg":"ES256","typ":"kapi-device+jwt","kid":"x"}`:                                false,
		`{"alg":"ES256","typ":"JWT","kid":"x"}`:                                            false,
		`{"alg":"ES256","kid":"x"}`:                                                        false,
		`{"alg":"ES256","typ":"kapi-approval+jwt"}`:                                        false,
		`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"x","crit":["b64"]}`:               false,
		`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"x","jku":"https://evil.example"}`: false,
		`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"x"}{}`:                            false,
	} {
		if _, err := take(z.sign(header, `{}`), typeStatement, true); (err == nil) != good {
			t.Errorf("%s: %v", header, err)
		}
	}
	whole := z.sign(`{"alg":"ES256","typ":"kapi-approval+jwt","kid":"x"}`, `{"ctr":1}`)
	for _, odd := range []string{whole + "=", whole + ".", "." + whole, strings.Replace(whole, ".", "..", 1), " " + whole, whole + "\n", whole[:len(whole)-2]} {
		if s, err := take(odd, typeStatement, true); err == nil {
			t.Errorf("%q taken as %+v", odd, s)
		}
	}
	s, err := take(whole, typeStatement, true)
	if err != nil {
		t.Fatal(err)
	}
	var st statement
	if err := s.by(z.d.key, &st); err != nil || st.Ctr != 1 {
		t.Errorf("%+v %v", st, err)
	}
	s.signature[5] ^= 1
	if s.by(z.d.key, &st) == nil {
		t.Error("a bent signature")
	}
}
