package program_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/internal/web"
)

// listening serves s as kapi serve does until the test ends, and returns its address.
func listening(t *testing.T, s *http.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = web.Serve(ctx, web.Drain{Limit: time.Millisecond}, web.Bound{Server: s, Listener: l})
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		s.Close()
	})
	return l.Addr().String()
}

// sockets is how many slow connections there are: thousands in make slow, as many as the limit of open files allows.
func sockets(t *testing.T) int {
	n := 1000
	if rounds() > 20 {
		n = 5000
	}
	if most := openFiles(); most > 0 && 2*n+500 > most { // both ends are ours
		t.Logf("%d sockets instead of %d: no more files may be open", (most-500)/2, n)
		n = (most - 500) / 2
	}
	return n
}

// held is the heap that is in use.
func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// dribble opens n connections that begin a request, or nothing, and leave it at that.
func dribble(t *testing.T, address string, n int) (slow []net.Conn) {
	t.Helper()
	for i := range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		begin := []string{"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\na=", ""}[i%3]
		_, _ = io.WriteString(c, begin) // the first ones may have been ended while the last ones are begun
		slow = append(slow, c)
	}
	return slow
}

// TestX2_SlowSockets: thousands of connections that send slowly, or nothing, cost little while they last, and keep nobody
// out. It measures the process, so it does not run beside others.
func TestX2_SlowSockets(t *testing.T) {
	k := testkapi.Start(t, testkapi.Options{})
	n := sockets(t)
	server := web.NewServer("", k.App().Handler)
	server.ReadHeaderTimeout, server.ReadTimeout = 0, 0 // so that all of them are there at once
	var open atomic.Int64
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	address := listening(t, server)
	before, routines := held(), runtime.NumGoroutine()
	slow := dribble(t, address, n)
	eventually(t, "all are connected", func() bool { return open.Load() == int64(n) })
	for range 20 {
		resp, err := http.Get("http://" + address + "/keys")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("others are kept out: %v", err)
		}
		resp.Body.Close()
	}
	// Two buffers, a stack and what belongs to a request; with the race detector more.
	if cost := int64(held()-before) / int64(n); cost > 64<<10 {
		t.Errorf("a connection costs %d bytes", cost)
	}
	if more := runtime.NumGoroutine() - routines; more > 2*n+100 {
		t.Errorf("%d goroutines for %d connections", more, n)
	}
	for _, c := range slow {
		c.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "nothing of them is left", func() bool { return open.Load() == 0 && runtime.NumGoroutine() < routines+50 })
}

// X2: connections that send slowly, or nothing, end by themselves. The limits are those of the server, made shorter for the
// test; that the real ones are set is another test's.
func TestX2_SlowConnections(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	server := web.NewServer("", k.App().Handler)
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Fatal("no limits")
	}
	server.ReadHeaderTimeout, server.ReadTimeout = server.ReadHeaderTimeout/20, server.ReadTimeout/20
	address := listening(t, server)
	for i, c := range dribble(t, address, sockets(t)) {
		// The read ends when the server ends the connection; without its limits only this deadline would.
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil && os.IsTimeout(err) {
			t.Fatalf("connection %d lives for ever", i)
		}
		c.Close()
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.Copy(c, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\nX-A: "), io.LimitReader(zeros{}, 1<<20)))
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte of headers: %d", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("0"), len(p))), nil }

// overTLS serves h with HTTP/2, as kapi serve does with a certificate.
func overTLS(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	certificates := lender.TLS.Certificates
	lender.Close()
	s := web.NewServer("", h)
	s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certificates}
	return listening(t, s)
}

// rapidReset opens up to n streams on one connection and takes each back at once (CVE-2023-44487). It returns how many it
// could, and how the server ended the connection; http2.ErrCodeNo if it did not.
func rapidReset(t *testing.T, address, path string, n int) (sent int, end http2.ErrCode) {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	defer c.Close()
	if c.ConnectionState().NegotiatedProtocol != "h2" {
		t.Error("no HTTP/2")
		return 0, 0
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Error(err)
		return 0, 0
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Error(err)
		return 0, 0
	}
	over := make(chan http2.ErrCode, 1)
	go func() {
		for {
			switch frame, err := f.ReadFrame(); {
			case err != nil:
				over <- http2.ErrCodeNo
				return
			default:
				if g, ok := frame.(*http2.GoAwayFrame); ok {
					over <- g.ErrCode
					return
				}
			}
		}
	}()
	for sent = range n {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", address}, {":path", path}} {
			_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1], Sensitive: true})
		}
		id := uint32(2*sent + 1)
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			break
		}
		if err := f.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			break
		}
	}
	_ = c.CloseWrite()
	return sent + 1, <-over
}

// X2: streams that are opened and reset by the thousand: never more handlers at once than streams are allowed, and the
// connection ends; others are answered meanwhile.
func TestX2_RapidReset(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	var running, most, begun atomic.Int64
	address := overTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			return
		}
		begun.Add(1)
		now := running.Add(1)
		for {
			if m := most.Load(); now <= m || most.CompareAndSwap(m, now) {
				break
			}
		}
		<-gate // work under way does not end when its client goes, as a statement or a hash does not
		running.Add(-1)
	}))
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	sent, end := rapidReset(t, address, "/slow", 20_000)
	if end != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("after %d streams the connection ended with %v", sent, end)
	}
	resp, err := client.Get("https://" + address + "/")
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("others are kept out: %v", err)
	}
	resp.Body.Close()
	open()
	eventually(t, "all handlers have ended", func() bool { return running.Load() == 0 })
	if most.Load() > 100 || begun.Load() > 1000 {
		t.Errorf("%d handlers at once, %d in all", most.Load(), begun.Load())
	}
}

// TestX2_RapidResetOfTheWhole: the same against all of Kapi, on several connections at once, at an address that writes. It
// counts goroutines, so it does not run beside others.
func TestX2_RapidResetOfTheWhole(t *testing.T) {
	k := testkapi.Start(t, testkapi.Options{})
	rp := k.RP("ssi", nil)
	k.People(people)
	address := overTLS(t, k.App().Handler)
	path := strings.TrimPrefix(rp.URL(), k.URL)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	get := func(path string) error {
		resp, err := client.Get("https://" + address + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	if err := get("/keys"); err != nil {
		t.Fatal(err)
	}
	routines := runtime.NumGoroutine()
	const attackers = 8
	for _, path := range []string{path, "/.well-known/openid-configuration"} {
		var all sync.WaitGroup
		for range attackers {
			all.Go(func() { rapidReset(t, address, path, rounds()*50) })
		}
		for i := range 50 {
			if err := get("/keys"); err != nil {
				t.Fatalf("request %d of somebody else: %v", i, err)
			}
		}
		all.Wait()
	}
	client.CloseIdleConnections()
	eventually(t, "nothing is left running", func() bool { return runtime.NumGoroutine() < routines+50 })
	k.Clock.Add(time.Minute) // what the streams took of the client's quota comes back
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL())
	signIn(k, b, mehmet, mehmetPassword, "", 0)
	rp.Answer(b)
	if strings.Contains(k.Log.String(), `"panic`) {
		t.Error(fmt.Sprint("a panic: ", k.Log.String()))
	}
}
