package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/testcert"
)

// testCertificate has as many names.
func testCertificate(t testing.TB, names int) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{}
	for i := range names {
		tmpl.DNSNames = append(tmpl.DNSNames, fmt.Sprintf("machine-%04d.bank.example", i))
	}
	return testcert.Issue(t, tmpl, nil).Leaf
}

func TestClientCertificate(t *testing.T) {
	one, two := testCertificate(t, 0), testCertificate(t, 0)
	header := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	good := header(one)
	const proxy, stranger, host = "10.0.0.1:1000", "192.0.2.1:1000", "mtls.kapi.example"
	for name, tc := range map[string]struct {
		peer, host string
		tls        *tls.ConnectionState
		headers    []string
		want       *x509.Certificate
		bad        bool // and not merely none
	}{
		"a proxy":                        {proxy, host, nil, []string{good}, one, false},
		"a proxy, host in capitals":      {proxy, "MTLS.kapi.example", nil, []string{good}, one, false},
		"a stranger":                     {stranger, host, nil, []string{good}, nil, false},
		"past the pages' host":           {proxy, "login.kapi.example", nil, []string{good}, nil, false},
		"the host with another port":     {proxy, host + ":8443", nil, []string{good}, nil, false},
		"none":                           {proxy, host, nil, nil, nil, false},
		"twice":                          {proxy, host, nil, []string{good, header(two)}, nil, true},
		"the same twice":                 {proxy, host, nil, []string{good, good}, nil, true},
		"a list":                         {proxy, host, nil, []string{good + ", " + header(two)}, nil, true},
		"an empty one":                   {proxy, host, nil, []string{"::"}, nil, true},
		"no value":                       {proxy, host, nil, []string{""}, nil, true},
		"without its colons":             {proxy, host, nil, []string{strings.Trim(good, ":")}, nil, true},
		"with a parameter":               {proxy, host, nil, []string{good + ";a=1"}, nil, true},
		"the address alphabet":           {proxy, host, nil, []string{":" + base64.RawURLEncoding.EncodeToString(append([]byte{0xfb, 0xff}, one.Raw...)) + ":"}, nil, true},
		"no certificate":                 {proxy, host, nil, []string{":AAAA:"}, nil, true},
		"with something behind it":       {proxy, host, nil, []string{":" + base64.StdEncoding.EncodeToString(append(one.Raw[:len(one.Raw):len(one.Raw)], 0)) + ":"}, nil, true},
		"too long":                       {proxy, host, nil, []string{header(testCertificate(t, 400))}, nil, true},
		"the connection":                 {stranger, "x.example", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{two}}, nil, two, false},
		"the connection, not the header": {proxy, host, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{two}}, []string{good}, two, false},
		"TLS without a certificate":      {stranger, host, &tls.ConnectionState{}, []string{good}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got *x509.Certificate
			var err error
			h := Chain(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, err = ClientCertificate(r.Context()) }),
				Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, CertHost: host, Log: quietLog()})
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr, r.Host, r.TLS = tc.peer, tc.host, tc.tls
			for _, v := range tc.headers {
				r.Header.Add("Client-Cert", v)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			switch {
			case tc.want != nil && (err != nil || !tc.want.Equal(got)):
				t.Errorf("%v", err)
			case tc.want == nil && (got != nil || err == nil || errors.Is(err, ErrNoCertificate) == tc.bad):
				t.Errorf("a certificate: %t, %v", got != nil, err)
			}
		})
	}
	// Without a host for it nobody is believed.
	h := Chain(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := ClientCertificate(r.Context()); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("switched off: %v", err)
		}
	}), Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Log: quietLog()})
	r := httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr, r.Host = proxy, ""
	r.Header.Set("Client-Cert", good)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if _, err := ClientCertificate(context.Background()); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("outside of Chain: %v", err)
	}
}

// What can be read is a certificate, and is the one that was sent.
func FuzzClientCert(f *testing.F) {
	f.Add(":" + base64.StdEncoding.EncodeToString(testCertificate(f, 0).Raw) + ":")
	f.Add("::")
	f.Add(" :MAo=: ")
	f.Fuzz(func(t *testing.T, v string) {
		c, err := parseClientCert(v)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil && strings.Trim(v, " ") != ":"+base64.StdEncoding.EncodeToString(c.Raw)+":" {
			t.Errorf("%q is another certificate", v)
		}
	})
}

// Pages must not slip through at the certificates' host because its name was written in another way.
func TestAt(t *testing.T) {
	for _, c := range []struct {
		got, want string
		at        bool
	}{
		{"mtls.example.org", "mtls.example.org", true}, {"MTLS.example.ORG:443", "mtls.example.org", true}, {"mtls.example.org.", "mtls.example.org", true},
		{"mtls.example.org.:443", "mtls.example.org", true}, {"mtls.example.org.:8443", "mtls.example.org:8443", true}, {"[::1]:8443", "[::1]:8443", true},
		{"mtls.example.org:8443", "mtls.example.org", false}, {"login.example.org", "mtls.example.org", false}, {"mtls.example.org.evil.example", "mtls.example.org", false}, {"", "mtls.example.org", false},
	} {
		if at := At(&http.Request{Host: c.got}, c.want); at != c.at {
			t.Errorf("%q at %q: %t", c.got, c.want, at)
		}
	}
}
