package program

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/web"
)

// Clients show certificates at an address of their own (RFC 8705 §5), since a server that asks for one asks every browser, which then asks its
// user. Either Kapi listens there itself, or a proxy does and says so in Client-Cert.

func takeMTLS(s *Settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" || u.Host == "" || v != strings.ToLower("https://"+u.Host) || u.Port() == "443" {
		return fmt.Errorf("KAPI_MTLS %q: want an address like https://mtls.login.example.org, lower case, without a path", v)
	}
	s.MTLS = v
	return nil
}

// showing refuses what could not work or would ask people for certificates.
func (s *Settings) showing() error {
	switch {
	case s.MTLS == "" && s.MTLSListen != "":
		return fmt.Errorf("KAPI_MTLS_LISTEN needs KAPI_MTLS, the address that clients are told")
	case s.MTLS == "":
	case s.certHost() == s.host():
		return fmt.Errorf("KAPI_MTLS %s is the issuer: browsers would ask people for certificates; give it a host or a port of its own", s.MTLS)
	case s.MTLSListen != "" && s.TLSCert == "":
		return fmt.Errorf("KAPI_MTLS_LISTEN needs KAPI_TLS_CERT and KAPI_TLS_KEY")
	case s.MTLSListen == "" && len(s.TrustedProxies) == 0:
		return fmt.Errorf("KAPI_MTLS needs KAPI_MTLS_LISTEN, or KAPI_TRUSTED_PROXIES with a proxy that sends Client-Cert: nobody could show a certificate")
	}
	return nil
}

// certHost is the host where certificates are shown, with its port unless that is 443.
func (s Settings) certHost() string { return strings.TrimPrefix(s.MTLS, "https://") }

// headerHost is the host where Client-Cert is believed: none while Kapi itself takes the certificates.
func (s Settings) headerHost() string {
	if s.MTLSListen != "" {
		return ""
	}
	return s.certHost()
}

// shownAt are the paths there.
var shownAt = []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/partner/v1/sim-unblock", "/healthz", "/readyz"}

// forMachines lets only requests of machines through: a page at this address would be one of another origin.
func forMachines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(shownAt, r.URL.Path) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// apart sends the requests of that host through forMachines.
func (a *App) apart(next http.Handler) http.Handler {
	if a.MTLS == "" {
		return next
	}
	machines, host := forMachines(next), a.certHost()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if web.At(r, host) {
			machines.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// direct drops what only a proxy may say. Where the client's own handshake ends no proxy can have added anything, even if one passes the
// connection through and is trusted for the pages: such a header is the client's own story of its address.
func direct(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("X-Forwarded-For")
		r.Header.Del("X-Request-Id")
		next.ServeHTTP(w, r)
	})
}

// mtlsServer asks for a certificate and takes any: its key is proven in the handshake, whose it is says the registration.
func (a *App) mtlsServer(cert *certificate) *http.Server {
	s := web.NewServer(a.MTLSListen, direct(forMachines(a.Handler)))
	s.TLSConfig = cert.config()
	s.TLSConfig.ClientAuth = tls.RequestClientCert
	return s
}

type clientJWKCmd struct {
	File string `arg:"" help:"PEM file with the client's certificate; several for a change of it. - for standard input."`
}

func (clientJWKCmd) Help() string {
	return `Prints the members of a client file for a client that proves itself by this certificate in the TLS handshake
(self_signed_tls_client_auth, RFC 8705). Who issued the certificate does not matter; to revoke it, take it out of the file and apply.

Example:
  kapi client jwk bank.pem`
}

func (c clientJWKCmd) Run(con *console) error {
	return reading(c.File, func(r io.Reader) error { return clients.WriteCertificateKeys(con.out, r) })
}
