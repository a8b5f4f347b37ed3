package program_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testcert"
	"github.com/kapi-id/kapi/internal/testkapi"
)

const mtlsHost = "mtls.kapi.example"

// certificateFor is a key with a certificate that names somebody.
func certificateFor(t *testing.T, name string, from, to time.Time) tls.Certificate {
	t.Helper()
	return testcert.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, nil)
}

// register makes a client that proves itself by one of the certificates.
func register(t *testing.T, k *testkapi.Kapi, id string, certs ...tls.Certificate) {
	t.Helper()
	leaves := make([]*x509.Certificate, len(certs))
	for i, c := range certs {
		leaves[i] = c.Leaf
	}
	keys, err := clients.CertificateKeys(testcert.PEM(leaves...))
	if err != nil {
		t.Fatal(err)
	}
	k.RP(id, map[string]any{
		"client_secret": nil, "redirect_uris": nil, "post_logout_redirect_uris": nil, "token_endpoint_auth_method": clients.MethodTLS, "institution": "A Bank",
		"grant_types": []string{"client_credentials"}, "scope": "simblock:release", "jwks": json.RawMessage(keys),
	})
}

// proxied asks as a proxy at an address would, with these values of Client-Cert.
type proxied struct {
	k    *country
	from string // 127.0.0.1 is trusted, 127.0.0.2 is not
	host string
}

func (p proxied) post(t *testing.T, path, contentType, body, token string, certs ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.k.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = p.host
	r.Header.Set("Content-Type", contentType)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, c := range certs {
		r.Header.Add("Client-Cert", c)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.from)}}).DialContext}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(out)
}

func (p proxied) token(t *testing.T, client string, certs ...string) (int, string) {
	t.Helper()
	return p.post(t, "/oauth/token", "application/x-www-form-urlencoded", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}}.Encode(), "", certs...)
}

func headerOf(c tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Leaf.Raw) + ":"
}

// Rows RC5 and P6, R209: the bank's machine by certificate, behind a proxy: the proxy's word counts, on the address for it, once; a stranger's never
// does, and neither a wrong, an old nor another bank's certificate lifts a block.
func TestRC5_PartnerBankByCertificate(t *testing.T) {
	t.Parallel()
	k := startSIM(t, false, func(o *testkapi.Options) {
		o.Settings["MTLS"] = "https://" + mtlsHost
		o.Settings["TRUSTED_PROXIES"] = "127.0.0.1"
	})
	now := k.Clock.Now()
	mine := certificateFor(t, "bank.example", now.Add(-time.Hour), now.Add(3*time.Hour))
	short := certificateFor(t, "bank.example", now.Add(-time.Hour), now.Add(30*time.Minute))
	others := certificateFor(t, "bank.example", now.Add(-time.Hour), now.Add(3*time.Hour)) // the same names: they prove nothing
	stranger := certificateFor(t, "bank.example", now.Add(-time.Hour), now.Add(3*time.Hour))
	register(t, k.Kapi, "bank", mine, short)
	register(t, k.Kapi, "other", others)
	proxy, passer := proxied{k, "127.0.0.1", mtlsHost}, proxied{k, "127.0.0.2", mtlsHost}
	login := proxied{k, "127.0.0.1", strings.TrimPrefix(k.URL, "http://")}

	tokenBy := func(client string, c tls.Certificate) string {
		t.Helper()
		status, body := proxy.token(t, client, headerOf(c))
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", client, status, body)
		}
		return member(t, body, "access_token")
	}
	tokenBy("bank", short)
	refused := func(name string, by proxied, client string, certs ...string) {
		t.Helper()
		if status, body := by.token(t, client, certs...); status != http.StatusUnauthorized || member(t, body, "error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	refused("nothing", proxy, "bank")
	refused("a wrong certificate", proxy, "bank", headerOf(stranger))
	refused("another bank's", proxy, "bank", headerOf(others))
	refused("right, wrong client", proxy, "other", headerOf(mine))
	refused("the header twice", proxy, "bank", headerOf(mine), headerOf(stranger))
	refused("the header twice, turned around", proxy, "bank", headerOf(stranger), headerOf(mine))
	refused("two in one", proxy, "bank", headerOf(mine)+", "+headerOf(mine))
	refused("from a stranger", passer, "bank", headerOf(mine))
	refused("past the host of the pages", login, "bank", headerOf(mine))

	// At that address there is nothing but what machines need.
	for path, want := range map[string]int{"/signin/x": 404, "/me": 404, "/authorize": 404, "/oauth/token": 400, "/factors/device/v1/register": 404, "/partner/v1/sim-events": 404} {
		if status, _ := proxy.post(t, path, "application/x-www-form-urlencoded", "", ""); status != want && !(path == "/oauth/token" && status == 401) {
			t.Errorf("%s: %d", path, status)
		}
	}

	rp, b := k.RP("ssi", nil), &bank{k: k}
	k.works(rp)
	k.swap(aysePhone)
	k.blocked(rp)
	token, otherToken := tokenBy("bank", mine), tokenBy("other", others)
	said, err := json.Marshal(b.body(ayse, "t1"))
	if err != nil {
		t.Fatal(err)
	}
	unblock := func(by proxied, token string, certs ...string) int {
		t.Helper()
		status, _ := by.post(t, "/partner/v1/sim-unblock", "application/json", string(said), token, certs...)
		return status
	}
	for name, status := range map[string]int{
		"no certificate":                    unblock(proxy, token),
		"a stranger's, with a stolen token": unblock(proxy, token, headerOf(stranger)),
		"another bank's, with this token":   unblock(proxy, token, headerOf(others)),
		"this one, with another's token":    unblock(proxy, otherToken, headerOf(mine)),
		"twice":                             unblock(proxy, token, headerOf(mine), headerOf(mine)),
		"from a stranger":                   unblock(passer, token, headerOf(mine)),
		"past the host of the pages":        unblock(login, token, headerOf(mine)),
		"no token":                          unblock(proxy, "", headerOf(mine)),
	} {
		if status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	k.blocked(rp)
	for range 2 {
		if status := unblock(proxy, token, headerOf(mine)); status != http.StatusNoContent {
			t.Fatalf("%d", status)
		}
	}
	k.works(rp)

	k.Clock.Add(time.Hour)
	refused("expired", proxy, "bank", headerOf(short))
	register(t, k.Kapi, "bank", short)
	refused("taken out of the registration", proxy, "bank", headerOf(mine))
}

// Without KAPI_MTLS there is no such thing, whoever sends the header.
func TestNoCertificatesWithoutTheSetting(t *testing.T) {
	t.Parallel()
	k := startSIM(t, false, func(o *testkapi.Options) { o.Settings["TRUSTED_PROXIES"] = "127.0.0.1" })
	mine := certificateFor(t, "bank.example", k.Clock.Now().Add(-time.Hour), k.Clock.Now().Add(time.Hour))
	register(t, k.Kapi, "bank", mine)
	for _, host := range []string{mtlsHost, strings.TrimPrefix(k.URL, "http://"), "x"} {
		if status, body := (proxied{k, "127.0.0.1", host}).token(t, "bank", headerOf(mine)); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
	doc := send(t, nil, http.MethodGet, k.URL+"/.well-known/openid-configuration", nil)
	if strings.Contains(doc.Body, "tls") {
		t.Error(doc.Body)
	}
}

// What discovery says of levels is what the factors of the program reach: the card beside them that tests add brings a further one.
func TestDiscoveryNamesTheLevelsThatAreReached(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]*testkapi.Kapi{
		`["urn:kapi:loa:low","urn:kapi:loa:substantial"]`:                     testkapi.Start(t, testkapi.Options{}),
		`["urn:kapi:loa:low","urn:kapi:loa:substantial","urn:kapi:loa:high"]`: startSIM(t, false, func(*testkapi.Options) {}).Kapi,
	} {
		if doc := send(t, nil, http.MethodGet, k.URL+"/.well-known/openid-configuration", nil); !strings.Contains(doc.Body, `"acr_values_supported":`+want) {
			t.Error(doc.Body)
		}
	}
}

// Kapi's own listener asks for certificates there, and not where people's browsers are.
func TestOwnListenerForCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	served := certificateFor(t, "127.0.0.1", time.Unix(0, 0), time.Unix(4e9, 0))
	key, err := x509.MarshalPKCS8PrivateKey(served.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string][]byte{certFile: testcert.PEM(served.Leaf), keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main, machines := freeAddress(t), freeAddress(t)
	k := testkapi.Start(t, testkapi.Options{Settings: map[string]string{
		"ISSUER": "https://login.kapi.example", "LISTEN": main, "TLS_CERT": certFile, "TLS_KEY": keyFile,
		"MTLS": "https://" + mtlsHost, "MTLS_LISTEN": machines, "TRUSTED_PROXIES": "127.0.0.1",
	}})
	k.Quiet() // Serve starts what works in the background itself
	now := k.Clock.Now()
	mine, stranger := certificateFor(t, "bank", now.Add(-time.Hour), now.Add(time.Hour)), certificateFor(t, "bank", now.Add(-time.Hour), now.Add(time.Hour))
	register(t, k, "bank", mine)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.App().Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	asked := false
	host := mtlsHost
	ask := func(address, path string, form url.Values, show *tls.Certificate, headers ...string) (int, string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, v := range headers {
			r.Header.Add("Client-Cert", v)
		}
		r.Header.Set("X-Forwarded-For", "203.0.113.77")
		r.Header.Set("X-Request-Id", "told-by-the-client")
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // who the server is, is another test
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				if show == nil {
					return &tls.Certificate{}, nil
				}
				return show, nil
			},
		}}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"bank"}}
	eventually(t, "it listens", func() bool { _, _, err := ask(machines, "/healthz", nil, nil); return err == nil })
	if status, body, err := ask(machines, "/oauth/token", form, &mine); status != http.StatusOK || member(t, body, "access_token") == "" {
		t.Errorf("%d %s %v", status, body, err)
	}
	for name, show := range map[string]*tls.Certificate{"none": nil, "a stranger's": &stranger} {
		// Here the connection is the truth: the header counts from nobody, trusted or not.
		if status, body, err := ask(machines, "/oauth/token", form, show, headerOf(mine)); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s %v", name, status, body, err)
		}
	}
	// Whoever has the certificate but not its key does not come in: the handshake fails.
	if status, body, err := ask(machines, "/oauth/token", form, &tls.Certificate{Certificate: mine.Certificate, PrivateKey: stranger.PrivateKey}); err == nil {
		t.Errorf("a certificate without its key: %d %s", status, body)
	}
	for _, host = range []string{"login.kapi.example", mtlsHost} {
		if status, _, _ := ask(machines, "/oauth/token", form, &mine); status != http.StatusOK {
			t.Errorf("%s: %d", host, status)
		}
		if status, _, _ := ask(machines, "/authorize", url.Values{}, &mine); status != http.StatusNotFound {
			t.Errorf("a page among machines at %s: %d", host, status)
		}
	}
	// A proxy that passes the connection through is trusted for the pages; what comes through it is the client's own word.
	if log := k.Log.String(); !strings.Contains(log, `"path":"/oauth/token"`) || strings.Contains(log, "203.0.113.77") || strings.Contains(log, "told-by-the-client") {
		t.Errorf("a client says where it is:\n%.3000s", log)
	}
	asked = false
	if status, _, err := ask(main, "/oauth/token", form, &mine, headerOf(mine)); status != http.StatusUnauthorized || asked {
		t.Errorf("where the pages are: %d, a certificate was asked for: %t, %v", status, asked, err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The command prints what a client file takes.
func TestClientJWK(t *testing.T) {
	mine := certificateFor(t, "bank", time.Unix(0, 0), time.Unix(4e9, 0))
	file := filepath.Join(t.TempDir(), "bank.pem")
	if err := os.WriteFile(file, testcert.PEM(mine.Leaf), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	if status := program.Main([]string{"client", "jwk", file}, nil, &out, &problems); status != 0 {
		t.Fatalf("%d %s", status, problems.String())
	}
	regs, err := clients.ParseFile(strings.NewReader(`[{"client_id":"bank","grant_types":["client_credentials"],"scope":"simblock:release",` + out.String() + `}]`))
	if err != nil || !regs[0].JWKS.Keys[0].Certificates[0].Equal(mine.Leaf) {
		t.Errorf("%v in %s", err, out.String())
	}
}
