package program

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testcert"
	"github.com/kapi-id/kapi/storage"
)

func TestO8_CertificateFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	// write puts a pair, or a certificate that does not fit the key, with a modification time of its own.
	write := func(serial int64, fits bool, at time.Time) {
		cert, key := pair(t, serial)
		if !fits {
			_, key = pair(t, serial)
		}
		for file, b := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1, true, now)
	c, err := loadCertificate(certFile, keyFile, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(want int64) {
		t.Helper()
		leaf, err := x509.ParseCertificate(c.current().Certificate[0])
		if err != nil || leaf.SerialNumber.Int64() != want {
			t.Fatalf("serves %v (%v), want %d", leaf.SerialNumber, err, want)
		}
	}
	serves(1)
	write(2, true, now.Add(time.Second))
	serves(1) // until the next look
	now = now.Add(lookEvery)
	serves(2)
	write(3, false, now.Add(2*time.Second))
	now = now.Add(lookEvery)
	serves(2) // a pair that does not fit is refused
	write(4, true, now.Add(3*time.Second))
	now = now.Add(lookEvery)
	serves(4)

	// The metrics tell of the served one, not of what lies in the file.
	m := newMetrics(func() (int, int, int) { return 0, 0, 0 }, &storage.Counter{}, func() int { return 0 })
	m.serves(c)
	end := func() string {
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		_, value, _ := strings.Cut(w.Body.String(), "\nkapi_certificate_end_seconds ")
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	served, err := x509.ParseCertificate(c.current().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	write(5, false, now.Add(4*time.Second))
	now = now.Add(lookEvery)
	if got, want := end(), fmt.Sprint(float64(served.NotAfter.Unix())); got != want {
		t.Errorf("the certificate ends at %q, want %s", got, want)
	}

	if _, err := loadCertificate(certFile, keyFile, time.Now, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started with a pair that does not fit")
	}
}

func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	c := testcert.Issue(t, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}}, nil)
	pk, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return testcert.PEM(c.Leaf), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})
}
