package webauthn

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	library "github.com/go-webauthn/webauthn/webauthn"
)

// Roots reads certificates in PEM of makers of keys. Whatever they vouch for counts as hardware, so they are all there is to
// decide.
func Roots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in it")
	}
	return pool, nil
}

// formats whose statements are made by hardware (Web Authentication §8). Android's may come from software; "none" and a key
// that vouches for itself prove nothing.
var formats = []string{"packed", "tpm", "fido-u2f", "apple"}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// vouched returns the certificate by which the maker vouched for the key: the library has checked the statement's signature, here its
// certificates must lead to a root. nil where nobody did whose word counts.
func (f *Factor) vouched(made *library.Credential, p *protocol.ParsedCredentialCreationData) *x509.Certificate {
	if f.roots == nil || !slices.Contains(formats, made.AttestationFormat) {
		return nil
	}
	chain, ok := p.Response.AttestationObject.AttStatement["x5c"].([]any)
	if !ok || len(chain) == 0 || len(chain) > 8 {
		return nil
	}
	var leaf *x509.Certificate
	between := x509.NewCertPool()
	for i, der := range chain {
		b, ok := der.([]byte)
		if !ok {
			return nil
		}
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return nil
		}
		if i > 0 {
			between.AddCert(c)
			continue
		}
		leaf = c
		// A TPM's certificate has no subject and names the chip here, which the library has read (§8.3.1).
		leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool {
			return made.AttestationFormat == "tpm" && id.Equal(subjectAltName)
		})
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: f.roots, Intermediates: between, CurrentTime: f.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil
	}
	return leaf
}
