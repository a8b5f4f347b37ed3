package clients

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// CertificateKeys makes the jwks of a client with MethodTLS out of PEM text with its certificates, each the client's own and none of those
// that issued it.
func CertificateKeys(text []byte) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" { // most likely the key, which must not get around
			return nil, fmt.Errorf("the file holds a %s; give a file with nothing but the certificate", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the certificate cannot be read: %w", err)
		}
		if slices.ContainsFunc(set.Keys, func(k jose.JSONWebKey) bool { return issued(k.Certificates[0], c) || issued(c, k.Certificates[0]) }) {
			return nil, errors.New("the file holds a chain; give a file with nothing but the client's own certificate")
		}
		k := jose.JSONWebKey{Key: c.PublicKey, Certificates: []*x509.Certificate{c}}
		if _, err := k.Thumbprint(crypto.SHA256); err != nil {
			return nil, fmt.Errorf("the certificate's key is of no use; %s", usable)
		}
		name := sha256.Sum256(c.Raw) // not of the key: the next certificate may well be of the same
		k.KeyID = base64.RawURLEncoding.EncodeToString(name[:])
		set.Keys = append(set.Keys, k)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("there is no certificate in the file; it must be PEM text (-----BEGIN CERTIFICATE-----)")
	}
	return json.Marshal(set)
}

// issued says whether, by their names, one certificate was issued by another. One that issued itself was issued by no other, such as the old
// and the next one of a client that makes its own, which openssl marks as authorities.
func issued(c, by *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, by.RawSubject) && !bytes.Equal(c.RawIssuer, c.RawSubject)
}

// WriteCertificateKeys prints the members of a client file for the certificates in a file of PEM text.
func WriteCertificateKeys(w io.Writer, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return err
	}
	keys, err := CertificateKeys(text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\"token_endpoint_auth_method\": %q,\n\"jwks\": %s\n", MethodTLS, compact(keys))
	return err
}
