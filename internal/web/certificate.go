package web

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
)

// mostCertificate is the most a certificate may hold, in bytes of DER.
const mostCertificate = 8 << 10

// What ClientCertificate says where there is none.
var (
	ErrNoCertificate  = errors.New("no client certificate")
	errBadCertificate = errors.New("the client certificate cannot be read")
)

// shown is the certificate of a request, as it came.
type shown struct {
	leaf   *x509.Certificate // of the connection, whose handshake proved the key
	header []string          // of a proxy that proved it (RFC 9440)
}

// ClientCertificate is the certificate whose key whoever asks has proven to hold: to us, in the handshake, or to a trusted proxy, which says
// so in Client-Cert. Nothing else about it is judged here, not even its time. ErrNoCertificate outside of Chain and where none was shown.
func ClientCertificate(ctx context.Context) (*x509.Certificate, error) {
	p, ok := ctx.Value(contextKey{}).(*passage)
	switch {
	case !ok:
		return nil, ErrNoCertificate
	case p.shown.leaf != nil:
		return p.shown.leaf, nil
	case len(p.shown.header) == 0:
		return nil, ErrNoCertificate
	case len(p.shown.header) > 1: // a proxy replaces what the client sent, it does not add to it: one of them is the client's own story
		return nil, errBadCertificate
	}
	return parseClientCert(p.shown.header[0])
}

// certificate finds what a request shows. The header counts only from a trusted proxy, and only on the host that clients with certificates
// are sent to: what stands in it anywhere else went past a proxy that had no reason to look.
func (o *Options) certificate(r *http.Request, trusted bool) (s shown) {
	switch {
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		s.leaf = r.TLS.PeerCertificates[0]
	case trusted && o.CertHost != "" && At(r, o.CertHost):
		s.header = r.Header.Values("Client-Cert")
	}
	return s
}

// At says whether a request is for a host, which names its port unless that is 443: however the client wrote it.
func At(r *http.Request, host string) bool {
	got := strings.TrimSuffix(r.Host, ":443")
	if name, port, err := net.SplitHostPort(got); err == nil {
		got = net.JoinHostPort(strings.TrimSuffix(name, "."), port)
	}
	return strings.EqualFold(strings.TrimSuffix(got, "."), host)
}

// parseClientCert reads one byte sequence of structured fields, without parameters: ":MIIB…==:" (RFC 9440 §2.2, RFC 9651 §3.3.5). Two of
// them with a comma are none.
func parseClientCert(v string) (*x509.Certificate, error) {
	v = strings.Trim(v, " ")
	inner, ok := strings.CutPrefix(v, ":")
	inner, ends := strings.CutSuffix(inner, ":")
	if !ok || !ends || inner == "" || base64.StdEncoding.DecodedLen(len(inner)) > mostCertificate || strings.ContainsAny(inner, "\r\n") {
		return nil, errBadCertificate
	}
	der, err := base64.StdEncoding.Strict().DecodeString(inner)
	if err != nil {
		return nil, errBadCertificate
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errBadCertificate
	}
	return c, nil
}
