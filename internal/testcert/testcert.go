// Package testcert owns the certificates of the tests. Enter with Issue, or with Sign for a key of one's own. It refuses nothing, and belongs to
// no program.
package testcert

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Key is a new P-256 key.
func Key(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Issue is Sign for a new key.
func Issue(tb testing.TB, template *x509.Certificate, by *tls.Certificate) tls.Certificate {
	tb.Helper()
	return Sign(tb, template, Key(tb), by)
}

// Sign makes the certificate of a key, signed by another one; nil = by itself. What the template leaves out of serial number and times is a
// random number, and from 1970 to 2096.
func Sign(tb testing.TB, template *x509.Certificate, key crypto.Signer, by *tls.Certificate) tls.Certificate {
	tb.Helper()
	t := *template
	if t.SerialNumber == nil {
		var err error
		if t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
			tb.Fatal(err)
		}
	}
	if t.NotAfter.IsZero() {
		t.NotBefore, t.NotAfter = time.Unix(0, 0), time.Unix(4e9, 0)
	}
	by = cmp.Or(by, &tls.Certificate{Leaf: &t, PrivateKey: key})
	der, err := x509.CreateCertificate(rand.Reader, &t, by.Leaf, key.Public(), by.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// PEM is the text of certificates.
func PEM(certs ...*x509.Certificate) (text []byte) {
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}
