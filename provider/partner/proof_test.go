package partner

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var now = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

const endpoint = "https://login.example.org" + PathEvents

func request(authorization ...string) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, endpoint, nil)
	for _, v := range authorization {
		r.Header.Add("Authorization", v)
	}
	return r
}

func TestBearer(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	p, err := ParseProof("bearer:"+token, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Proves(request("Bearer "+token), now) || !p.Proves(request("bearer "+token), now) {
		t.Error("the right token is refused")
	}
	for _, v := range [][]string{nil, {""}, {"Bearer "}, {"Bearer " + token[1:]}, {"Bearer " + token + "0"}, {"Basic " + token}, {"Bearer " + token, "Bearer " + token}, {token}, {"Bearer  " + token}} {
		if p.Proves(request(v...), now) {
			t.Errorf("%q is believed", v)
		}
	}
}

func TestSigned(t *testing.T) {
	dir := t.TempDir()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, keys ...jose.JSONWebKey) string {
		b, _ := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("keys.json", jose.JSONWebKey{Key: &own.PublicKey, KeyID: "1", Algorithm: "ES256"})
	p, err := ParseProof("jwks:"+file+"#iss=https://operator.example", endpoint)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key *ecdsa.PrivateKey, embed bool, change func(map[string]any)) string {
		claims := map[string]any{"iss": "https://operator.example", "aud": endpoint, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
		if change != nil {
			change(claims)
		}
		b, _ := json.Marshal(claims)
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, &jose.SignerOptions{EmbedJWK: embed})
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(b)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := sig.CompactSerialize()
		return out
	}
	set := func(name string, v any) func(map[string]any) { return func(m map[string]any) { m[name] = v } }
	for name, c := range map[string]struct {
		token string
		right bool
	}{
		"right":                {sign(own, false, nil), true},
		"among others":         {sign(own, false, set("aud", []string{"x", endpoint})), true},
		"another key":          {sign(foreign, false, nil), false},
		"its own key in it":    {sign(foreign, true, nil), false},
		"another issuer":       {sign(own, false, set("iss", "https://evil.example")), false},
		"for somebody else":    {sign(own, false, set("aud", "https://other.example")), false},
		"for nobody":           {sign(own, false, set("aud", nil)), false},
		"over":                 {sign(own, false, set("exp", now.Add(-2*time.Minute).Unix())), false},
		"without an end":       {sign(own, false, set("exp", nil)), false},
		"for ever":             {sign(own, false, set("exp", now.Add(time.Hour).Unix())), false},
		"of tomorrow":          {sign(own, false, set("iat", now.Add(time.Hour).Unix())), false},
		"nothing":              {"", false},
		"no JWT":               {"a.b.c", false},
		"without a signature":  {"eyJhbGciOiJub25lIn0.e30.", false},
		"altered":              {sign(own, false, nil) + "A", false},
		"longer than anything": {strings.Repeat("a", 9000), false},
	} {
		if got := p.Proves(request("Bearer "+c.token), now); got != c.right {
			t.Errorf("%s: %v", name, got)
		}
	}
	private := write("private.json", jose.JSONWebKey{Key: own, KeyID: "1", Algorithm: "ES256"})
	for setting, want := range map[string]string{
		"bearer:SECRETSECRET": "32 characters", "token:x": "want bearer", "": "want bearer", "jwks:" + file: "#iss", "jwks:" + file + "#iss=": "#iss", "jwks:" + file + "#iss=a&aud=b": "#iss",
		"jwks:" + filepath.Join(dir, "none") + "#iss=a": "no such file", "jwks:" + write("empty.json") + "#iss=a": "no key set", "jwks:" + private + "#iss=a": "public keys only",
	} {
		if _, err := ParseProof(setting, endpoint); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRETSECRET") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func FuzzProof(f *testing.F) {
	own, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p := signed{issuer: "i", audience: endpoint, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &own.PublicKey, KeyID: "1"}}}}
	f.Add("Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA")
	f.Fuzz(func(t *testing.T, header string) {
		if p.Proves(request(header), now) {
			t.Errorf("%q is believed", header)
		}
	})
}
