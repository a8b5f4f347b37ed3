package push_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/apns"
	"github.com/kapi-id/kapi/internal/notify/gateway/fcm"
	"github.com/kapi-id/kapi/internal/notify/gateway/hms"
	"github.com/kapi-id/kapi/internal/notify/gateway/webpush"
	sim "github.com/kapi-id/kapi/internal/sim/push"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func inPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// world is a simulated push service with TLS and HTTP/2, the four gateways that send to it, and a clock.
type world struct {
	*sim.Service
	url      string
	roots    *x509.CertPool
	sender   string // whom a browser subscribes for
	gateways map[string]notify.Gateway
	mu       sync.Mutex
	at       time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

var kinds = []string{webpush.Kind, fcm.Kind, apns.Kind, hms.Kind}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{at: time.Now().Truncate(time.Second), gateways: map[string]notify.Gateway{}}
	apple, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.Service = sim.New(sim.Config{
		Now:  w.now,
		FCM:  &sim.Google{Project: "kapi-test", Email: "push@kapi-test.iam.gserviceaccount.com", Key: &rsaKey().PublicKey},
		APNs: &sim.Apple{KeyID: "ABCDE12345", Team: "TEAM567890", Topic: "org.example.kapi", Key: &apple.PublicKey},
		HMS:  &sim.Huawei{App: "104000000", Secret: "s3cr3t&hms"},
	})
	s := httptest.NewUnstartedServer(w.Service)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() { w.Service.Close(); s.Close() })
	w.url = s.URL
	roots := x509.NewCertPool()
	w.roots = roots
	roots.AddCert(s.Certificate())
	account, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "kapi-test", "private_key_id": "k1", "private_key": inPEM(t, rsaKey()),
		"client_email": "push@kapi-test.iam.gserviceaccount.com", "token_uri": s.URL + "/token",
	})
	key, err := webpush.NewKey(func(int) []byte { b := make([]byte, 32); rand.Read(b); return b })
	if err != nil {
		t.Fatal(err)
	}
	w.sender = key.Public()
	add := func(kind string, g notify.Gateway, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.gateways[kind] = g
	}
	web, err := webpush.New(webpush.Config{Name: "webpush", Key: key, Contact: "https://login.example.org", Hosts: []string{"127.0.0.1"}, Loopback: true, Roots: roots, Now: w.now})
	add("webpush", web, err)
	google, err := fcm.New(fcm.Config{Name: "fcm", Account: account, Base: s.URL, Roots: roots, Now: w.now})
	add("fcm", google, err)
	cupertino, err := apns.New(apns.Config{Name: "apns", Key: []byte(inPEM(t, apple)), KeyID: "ABCDE12345", Team: "TEAM567890", Topics: []string{"org.example.kapi"}, Base: s.URL, Roots: roots, Now: w.now})
	add("apns", cupertino, err)
	huawei, err := hms.New(hms.Config{Name: "hms", Account: []byte(`{"app_id":"104000000","client_secret":"s3cr3t&hms"}`), Base: s.URL, TokenURL: s.URL + "/oauth2/v3/token", Roots: roots, Now: w.now})
	add("hms", huawei, err)
	return w
}

const note = `{"kind":"approval","id":"AbC_-123"}`

func (w *world) message(sub map[string]string) notify.Message {
	to, _ := json.Marshal(sub)
	return notify.Message{ID: "0198c0de-0000-7000-8000-000000000001", Channel: notify.PushChannel(string(to)), Account: "a", To: string(to), Text: note,
		Deadline: w.now().Add(90*time.Second + 700*time.Millisecond), CreatedAt: w.now()}
}

func each(t *testing.T, test func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test(t, w, kind, w.gateways[kind], w.message(w.Install(w.url, kind)))
		})
	}
}

func failure(t *testing.T, err error) *notify.Failure {
	t.Helper()
	var f *notify.Failure
	if !errors.As(err, &f) || f == nil {
		t.Fatalf("%v is no failure", err)
	}
	return f
}
