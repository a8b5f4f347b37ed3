package provider

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/keyring"
	"github.com/kapi-id/kapi/provider/keys"
)

// realKeys are what production signs with, over a store in memory.
func realKeys(b *testing.B, k *kit) *keys.Ring {
	r, err := keys.New(context.Background(), keys.Config{Store: &keyTable{memory: k.memory}, Secret: k.ring, Audit: k.memory, Now: k.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// keyTable keeps signing keys in memory.
type keyTable struct {
	*memory
	rows []keyring.Stored
}

func (t *keyTable) SigningKeys(context.Context) ([]keyring.Stored, error) { return t.rows, nil }

func (t *keyTable) CreateSigningKey(_ context.Context, row keyring.Stored) error {
	t.rows = append(t.rows, row)
	return nil
}

func (t *keyTable) UpdateSigningKey(_ context.Context, row keyring.Stored) error {
	for i := range t.rows {
		if t.rows[i].KID == row.KID {
			t.rows[i] = row
		}
	}
	return nil
}

// discard is a ResponseWriter that costs nothing.
type discard struct {
	h      http.Header
	status int
	body   bytes.Buffer
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return d.body.Write(p) }

func serve(b *testing.B, h http.Handler, want int, request func() *http.Request) {
	b.Helper()
	b.ReportAllocs()
	d := &discard{h: http.Header{}}
	before := cpu()
	for b.Loop() {
		clear(d.h)
		d.status = 200
		d.body.Reset()
		h.ServeHTTP(d, request())
		if d.status != want {
			b.Fatalf("%d %s", d.status, d.body.String())
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time this process has used: what a busy neighbour does not change.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkDiscovery(b *testing.B) {
	k := newKit(b)
	serve(b, k.http, 200, func() *http.Request { return httptest.NewRequest("GET", "/.well-known/openid-configuration", nil) })
}

func BenchmarkKeys(b *testing.B) {
	k := newKit(b)
	serve(b, k.http, 200, func() *http.Request { return httptest.NewRequest("GET", "/keys", nil) })
}

func machineRequest() *http.Request {
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("rp-machine", url.QueryEscape(password))
	return r
}

// One ES256 signature is in it; BenchmarkSign of provider/keys says what it costs.
func BenchmarkClientCredentials(b *testing.B) {
	k := newKit(b)
	k.s.cfg.Keys = realKeys(b, k)
	serve(b, k.http, 200, machineRequest)
}

// The same Server behind the library's own HTTP front, for comparison: what our front saves.
func BenchmarkClientCredentialsLibraryFront(b *testing.B) {
	k := newKit(b)
	k.s.cfg.Keys = realKeys(b, k)
	h := op.RegisterServer(k.s, op.Endpoints{Token: op.NewEndpoint("oauth/token")}, op.WithServerCORSOptions(nil))
	serve(b, h, 200, machineRequest)
}

func BenchmarkUserinfo(b *testing.B) {
	k := newKit(b)
	token := k.signedIn("rp-basic", "scope", "openid profile email phone address").text("access_token")
	serve(b, k.http, 200, func() *http.Request {
		r := httptest.NewRequest("GET", "/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	})
}

func BenchmarkIntrospect(b *testing.B) {
	k := newKit(b)
	token := k.signedIn("rp-basic").text("access_token")
	serve(b, k.http, 200, func() *http.Request {
		r := httptest.NewRequest("POST", "/oauth/introspect", strings.NewReader("token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("rp-basic", url.QueryEscape(password))
		return r
	})
}

func BenchmarkAuthorize(b *testing.B) {
	k := newKit(b)
	target := "/authorize?" + ask("rp-basic", "https://rp1.example/cb", "scope", "openid profile", "acr_values", "substantial").Encode()
	serve(b, k.http, 303, func() *http.Request {
		clear(k.transactions)
		return httptest.NewRequest("GET", target, nil)
	})
}

func BenchmarkRefresh(b *testing.B) {
	k := newKit(b)
	k.s.cfg.Keys = realKeys(b, k)
	token := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}.Encode()
	var before = k.tables.clone() // the same token again and again: the state is put back
	k.change("rp-basic", func(c *clients.Client) { c.AccessTokenTTL = time.Minute })
	serve(b, k.http, 200, func() *http.Request {
		clear(k.access)
		k.events = k.events[:0]
		for id, g := range before.grants {
			k.grants[id] = g
		}
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("rp-basic", url.QueryEscape(password))
		return r
	})
}
