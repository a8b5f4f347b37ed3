package clients

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/testcert"
)

// certificateOf is one that issued itself.
func certificateOf(t *testing.T, key *ecdsa.PrivateKey, ca bool) *x509.Certificate {
	t.Helper()
	return certificateBy(t, key, ca, "bank", key)
}

func certificateBy(t *testing.T, key *ecdsa.PrivateKey, ca bool, issuer string, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	return testcert.Sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "bank"}, IsCA: ca, BasicConstraintsValid: true}, key,
		&tls.Certificate{Leaf: &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, PrivateKey: by}).Leaf
}

func pemOf(c *x509.Certificate) string { return string(testcert.PEM(c)) }

// A client with a certificate: each key with its own, and it fits; what the command prints is what a file takes.
func TestCertificates(t *testing.T) {
	key, other := testcert.Key(t), testcert.Key(t)
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, next := certificateOf(t, key, false), certificateOf(t, other, false)
	var printed bytes.Buffer
	if err := WriteCertificateKeys(&printed, strings.NewReader("the bank's\n"+pemOf(cert)+pemOf(next))); err != nil {
		t.Fatal(err)
	}
	head := `[{"client_id":"bank","grant_types":["client_credentials"],"scope":"simblock:release",`
	regs, err := ParseFile(strings.NewReader(head + printed.String() + "}]"))
	if err != nil {
		t.Fatalf("%v in %s", err, printed.String())
	}
	c := regs[0].Client
	if c.AuthMethod != MethodTLS || len(c.JWKS.Keys) != 2 || !c.JWKS.Keys[0].Certificates[0].Equal(cert) || !c.JWKS.Keys[1].Certificates[0].Equal(next) {
		t.Errorf("%+v", c)
	}
	// It survives being stored and shown.
	raw, err := json.Marshal(c)
	var back Client
	if err != nil || json.Unmarshal(raw, &back) != nil || !back.JWKS.Keys[1].Certificates[0].Equal(next) {
		t.Errorf("%v: %s", err, raw)
	}
	var shown bytes.Buffer
	if err := WriteShow(&shown, c); err != nil {
		t.Fatal(err)
	}
	if again, err := ParseFile(&shown); err != nil || !bytes.Equal(again[0].Raw, c.Raw) {
		t.Errorf("%v", err)
	}

	jwk := func(k jose.JSONWebKey) string {
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	bare := jwk(jose.JSONWebKey{Key: &key.PublicKey})
	with := func(chain ...*x509.Certificate) string {
		var list []string
		for _, c := range chain {
			list = append(list, `"`+base64.StdEncoding.EncodeToString(c.Raw)+`"`)
		}
		return strings.TrimSuffix(bare, "}") + `,"x5c":[` + strings.Join(list, ",") + `]}`
	}
	for name, tc := range map[string]struct{ method, keys, want string }{
		"no key":                {MethodTLS, ``, MethodTLS + " needs at least one"},
		"no certificate":        {MethodTLS, bare, "needs x5c with one certificate"},
		"an empty list":         {MethodTLS, with(), "needs x5c with one certificate"},
		"a chain":               {MethodTLS, with(cert, next), "needs x5c with one certificate"},
		"another key's":         {MethodTLS, with(next), "no fit for its x5c"},
		"no certificate at all": {MethodTLS, strings.TrimSuffix(bare, "}") + `,"x5c":["AAAA"]}`, "no fit for its x5c"},
		"of another method":     {"private_key_jwt", with(cert), `"x5c" is unknown or not read`},
	} {
		_, err := ParseFile(strings.NewReader(head + `"token_endpoint_auth_method":"` + tc.method + `","jwks":{"keys":[` + tc.keys + `]}}]`))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
	}
	if _, err := ParseFile(strings.NewReader(head + `"client_secret":"` + strings.Repeat("x", 40) + `",` + printed.String() + "}]")); err == nil || !strings.Contains(err.Error(), "has no use with") {
		t.Errorf("a secret beside: %v", err)
	}
	// The scope that moves somebody's account is for these two methods alone.
	if _, err := ParseFile(strings.NewReader(head + `"token_endpoint_auth_method":"client_secret_basic"}]`)); err == nil || !strings.Contains(err.Error(), "simblock:release is for") {
		t.Errorf("by a secret: %v", err)
	}

	// The next certificate may be of the same key, and may be of a client that makes its own and marks them as authorities, as openssl does.
	for name, pair := range map[string][2]*x509.Certificate{
		"of the same key":            {cert, certificateOf(t, key, false)},
		"by openssl req -x509":       {certificateOf(t, key, true), certificateOf(t, other, true)},
		"both":                       {certificateOf(t, key, true), certificateOf(t, key, true)},
		"by somebody, the same name": {certificateBy(t, key, false, "authority", other), certificateBy(t, key, false, "authority", other)},
	} {
		var printed bytes.Buffer
		if err := WriteCertificateKeys(&printed, strings.NewReader(pemOf(pair[0])+pemOf(pair[1]))); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		regs, err := ParseFile(strings.NewReader(head + printed.String() + "}]"))
		if err != nil || len(regs[0].JWKS.Keys) != 2 || !regs[0].JWKS.Keys[1].Certificates[0].Equal(pair[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}

	keyPEM, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	// The authority calls itself "bank" here; what it issued has another name.
	authority := certificateOf(t, other, true)
	leaf := testcert.Sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "machine"}}, key, &tls.Certificate{Leaf: authority, PrivateKey: other}).Leaf
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":        {"", "no certificate in the file"},
		"no PEM":         {"\x30\x82", "no certificate in the file"},
		"with its key":   {pemOf(cert) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyPEM})), "holds a PRIVATE KEY"},
		"with its chain": {pemOf(leaf) + pemOf(authority), "holds a chain"},
		"chain first":    {pemOf(authority) + pemOf(leaf), "holds a chain"},
		"rubbish":        {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})), "cannot be read"},
		"a small key":    {pemOf(certificateOf(t, small, false)), "of no use"},
	} {
		if _, err := CertificateKeys([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
	}
}
