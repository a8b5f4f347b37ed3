package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestServeDrains(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := NewServer("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	}))
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Drain{Begin: func() { close(begun) }, Limit: time.Minute}, Bound{Server: s, Listener: l})
	}()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-entered
	stop()
	<-begun
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeCutsAtTheLimit(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := NewServer("127.0.0.1:0", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, Drain{Limit: time.Millisecond}, Bound{Server: s, Listener: l}) }()
	go http.Get("http://" + l.Addr().String())
	<-entered
	stop()
	if err := <-ended; err == nil {
		t.Error("nobody was told that a request was cut")
	}
}

func TestRunSaysWhichAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(context.Background(), Drain{}, NewServer("127.0.0.1:0", nil), NewServer(l.Addr().String(), nil))
	if err == nil {
		t.Error("served on a taken address")
	}
}

// A connection too many waits until another one ends; it is neither refused nor served beside it.
func TestX2_ConnectionsAreBounded(t *testing.T) {
	const most = 3
	s := NewServer("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") }))
	s.ReadHeaderTimeout = 0 // nothing but the test ends a connection
	opened := make(chan struct{}, most+1)
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened <- struct{}{}
		}
	}
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, Drain{}, Bound{Server: s, Listener: l, Most: most}) }()
	var silent []net.Conn
	for range most {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
		<-opened
	}
	answer := make(chan error, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err == nil {
			res.Body.Close()
		}
		answer <- err
	}()
	// The kernel has taken the connection; that the server has not can only be seen for a while.
	select {
	case <-opened:
		t.Error("a connection too many was accepted")
	case <-answer:
		t.Error("a connection too many was answered")
	case <-time.After(50 * time.Millisecond):
	}
	silent[0].Close()
	if err := <-answer; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, c := range silent {
		c.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestX2_ServerLimits(t *testing.T) {
	s := NewServer("127.0.0.1:0", nil)
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout <= Timeout || s.IdleTimeout == 0 ||
		s.MaxHeaderBytes == 0 || s.HTTP2.MaxConcurrentStreams == 0 || MostConns < 1000 {
		t.Error("a limit is missing")
	}
}
