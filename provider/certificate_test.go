package provider

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/testcert"
	"github.com/kapi-id/kapi/internal/web"
)

// certified is a certificate that is good for an hour around a moment.
func certified(t *testing.T, at time.Time) *x509.Certificate {
	t.Helper()
	return testcert.Issue(t, &x509.Certificate{NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}, nil).Leaf
}

// Row P6 for a client with a certificate: exactly a registered one, in its time, of this client, at every endpoint; and nobody else
// is let in by one.
func TestP6_ClientCertificate(t *testing.T) {
	k := newKit(t)
	now := k.now()
	mine, next, others, stranger := certified(t, now), certified(t, now.Add(30*time.Minute)), certified(t, now), certified(t, now)
	old, future := certified(t, now.Add(-2*time.Hour)), certified(t, now.Add(2*time.Hour))
	register := func(id string, certs ...*x509.Certificate) {
		c := k.clients["rp-machine"]
		c.ID, c.AuthMethod, c.Secrets, c.JWKS, c.JWTAccessToken = id, methodTLS, nil, jose.JSONWebKeySet{}, false
		c.Scopes = []string{"simblock:release"}
		for _, cert := range certs {
			c.JWKS.Keys = append(c.JWKS.Keys, jose.JSONWebKey{Key: cert.PublicKey, Certificates: []*x509.Certificate{cert}})
		}
		k.clients[id] = c
	}
	register("bank", mine, next, old, future)
	register("other-bank", others)
	router := mux.NewRouter()
	k.s.Mount(router)
	k.http = web.Chain(router, web.Options{Log: k.s.cfg.Log})
	ask := func(path, client string, cert *x509.Certificate, pairs ...string) reply {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return k.raw("POST", path, form, func(r *http.Request) {
			if r.TLS = nil; cert != nil {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert, mine}} // what follows the first is only said
			}
		})
	}
	for name, cert := range map[string]*x509.Certificate{"the first": mine, "the next": next} {
		if a := ask("/oauth/token", "bank", cert); a.Code != 200 || a.text("access_token") == "" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	for name, a := range map[string]reply{
		"none":                         ask("/oauth/token", "bank", nil),
		"another one":                  ask("/oauth/token", "bank", stranger),
		"the other client's":           ask("/oauth/token", "bank", others),
		"right, but the wrong client":  ask("/oauth/token", "other-bank", mine),
		"expired":                      ask("/oauth/token", "bank", old),
		"not good yet":                 ask("/oauth/token", "bank", future),
		"no client_id":                 ask("/oauth/token", "", mine),
		"an unknown client":            ask("/oauth/token", "nobody", mine),
		"a client with a secret":       ask("/oauth/token", "rp-machine", mine),
		"with a secret beside":         ask("/oauth/token", "bank", mine, "client_secret", password),
		"an assertion of another's":    ask("/oauth/token", "bank", mine, "client_assertion", k.assertion("rp-jwt", nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
		"introspection without":        ask("/oauth/introspect", "bank", nil, "token", "x"),
		"introspection by another one": ask("/oauth/introspect", "bank", stranger, "token", "x"),
		"revocation without":           ask("/oauth/revoke", "bank", nil, "token", "x"),
	} {
		if a.Code != 401 || a.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	for path, want := range map[string]int{"/oauth/introspect": 200, "/oauth/revoke": 200} {
		if a := ask(path, "bank", mine, "token", "made-up"); a.Code != want {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}

	// The token is worth something only with the certificate.
	token := ask("/oauth/token", "bank", mine).text("access_token")
	machine := func(cert *x509.Certificate) error {
		var err error
		h := web.Chain(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, err = k.s.Machine(r, "simblock:release") }), web.Options{Log: k.s.cfg.Log})
		r := httptest.NewRequest("POST", "/partner", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if cert != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		return err
	}
	if err := machine(mine); err != nil {
		t.Errorf("the client itself: %v", err)
	}
	for name, cert := range map[string]*x509.Certificate{"no certificate": nil, "a stranger's": stranger, "another bank's": others, "an expired one": old} {
		if refused, ok := machine(cert).(*Refused); !ok || refused.Status != 401 || refused.Code != "invalid_token" {
			t.Errorf("%s: %v", name, refused)
		}
	}
	k.change("bank", func(c *clients.Client) { c.JWKS.Keys = c.JWKS.Keys[1:] })
	if machine(mine) == nil || ask("/oauth/token", "bank", mine).Code != 401 {
		t.Error("a certificate that was taken out of the registration is still good")
	}
}

// Discovery names the method and the addresses where there are some, and only there.
func TestDiscoveryOfCertificates(t *testing.T) {
	const method, at = methodTLS, "https://mtls.kapi.example"
	without, with := describe(issuer, "", acr.High), describe(issuer, at, acr.High)
	has := func(m metadata) (n int) {
		for _, list := range [][]string{strs(m.TokenEndpointAuthMethodsSupported), strs(m.RevocationEndpointAuthMethodsSupported), strs(m.IntrospectionEndpointAuthMethodsSupported)} {
			if slices.Contains(list, method) {
				n++
			}
		}
		return n
	}
	if has(without) != 0 || without.MTLS != nil {
		t.Errorf("%+v", without)
	}
	if has(with) != 3 || *with.MTLS != (aliases{at + pathToken, at + pathIntrospect, at + pathRevoke}) || with.TokenEndpoint != issuer+pathToken {
		t.Errorf("%+v", with)
	}
	if slices.Contains(strs(with.IntrospectionEndpointAuthMethodsSupported), methodNone) || !slices.Contains(strs(with.TokenEndpointAuthMethodsSupported), methodNone) {
		t.Errorf("%+v", with)
	}
}

func strs[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}
