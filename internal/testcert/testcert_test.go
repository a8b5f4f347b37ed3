package testcert_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/kapi-id/kapi/internal/testcert"
)

func TestChain(t *testing.T) {
	root := testcert.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	leaf := testcert.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}}, &root)
	stranger := testcert.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true}, nil)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(testcert.PEM(root.Leaf)) {
		t.Fatal("no PEM")
	}
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		good bool
	}{"leaf": {leaf.Leaf, true}, "stranger": {stranger.Leaf, false}} {
		if _, err := c.leaf.Verify(x509.VerifyOptions{Roots: pool}); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, b := leaf.Leaf, stranger.Leaf; a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("two certificates of one number")
	}
}
