package webauthn

import (
	"crypto/sha1" // names a key, as RFC 5280 §4.2.1.2 has it, and protects nothing
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/google/uuid"

	library "github.com/go-webauthn/webauthn/webauthn"
)

// Allowed are the models of keys that people may register. A model is known by its AAGUID, which only a maker's word makes true. Keys of
// the days of U2F have none (Web Authentication §8.6 has sixteen zeros there, outside of what is signed): they are known by the key of
// their batch's certificate, as in the FIDO Metadata Service ("attestationCertificateKeyIdentifiers").
type Allowed struct {
	models  map[uuid.UUID]bool
	batches map[string]bool // SHA-1 of the public key of a U2F certificate, in hexadecimal
}

// Allow reads a list, separated by commas or blanks: AAGUIDs (cb69481e-8ff7-4039-93ec-0a2729a154a8) and key identifiers of U2F
// certificates (forty hexadecimal digits). nil for an empty text: any key may be registered.
func Allow(list string) (*Allowed, error) {
	a := &Allowed{models: map[uuid.UUID]bool{}, batches: map[string]bool{}}
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		if b, err := hex.DecodeString(word); err == nil && len(b) == sha1.Size {
			a.batches[strings.ToLower(word)] = true
			continue
		}
		id, err := uuid.Parse(word)
		switch {
		case err != nil || len(word) != 36:
			return nil, fmt.Errorf("%q is neither an AAGUID nor the key identifier of a U2F certificate", word)
		case id == uuid.Nil:
			return nil, errors.New("the AAGUID of zeros is that of every key that does not say its model")
		}
		a.models[id] = true
	}
	if len(a.models)+len(a.batches) == 0 {
		return nil, nil
	}
	return a, nil
}

// takes says whether a key whose maker vouched for it by the certificate leaf is of a model on the list.
func (a *Allowed) takes(made *library.Credential, leaf *x509.Certificate) bool {
	if made.AttestationFormat == "fido-u2f" {
		id, err := identifier(leaf)
		return err == nil && a.batches[id]
	}
	id, err := uuid.FromBytes(made.Authenticator.AAGUID)
	return err == nil && a.models[id]
}

// identifier is the key identifier of a certificate by the first method of RFC 5280 §4.2.1.2: it is computed, since what a certificate
// says of it anybody may write.
func identifier(c *x509.Certificate) (string, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil {
		return "", err
	}
	sum := sha1.Sum(info.Key.Bytes)
	return hex.EncodeToString(sum[:]), nil
}
