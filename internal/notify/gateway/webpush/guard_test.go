package webpush

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kapi-id/kapi/internal/notify"
)

func seed(int) []byte { return []byte(strings.Repeat("k", 32)) }

func made(t testing.TB, c Config) *Gateway {
	t.Helper()
	var err error
	if c.Key, err = NewKey(seed); err != nil {
		t.Fatal(err)
	}
	c.Name, c.Contact, c.Now = "webpush", "mailto:kapi@example.org", time.Now
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The address comes from whoever registered a device (P12): it must be that of a push service.
func TestP12_Endpoints(t *testing.T) {
	g, home := made(t, Config{Hosts: []string{"push.example.org", "*.push.example.net"}}), made(t, Config{Hosts: []string{"localhost", "127.0.0.1"}, Loopback: true})
	for _, c := range []struct {
		address    string
		here, away bool
	}{
		{"https://fcm.googleapis.com/fcm/send/abc:APA91", true, true},
		{"https://updates.push.services.mozilla.com:443/wpush/v2/x", true, true},
		{"https://web.push.apple.com/x", true, true},
		{"https://wns2-am3p.notify.windows.com/w/?token=x", true, true},
		{"https://push.example.org/x", false, true},
		{"https://a.push.example.net/x", false, true},
		{"https://push.example.net/x", false, false},
		{"https://.push.example.net/x", false, false},
		{"https://evilpush.example.net/x", false, false},
		{"http://fcm.googleapis.com/x", false, false},
		{"https://fcm.googleapis.com:8443/x", false, false},
		{"https://user@fcm.googleapis.com/x", false, false},
		{"https://fcm.googleapis.com.evil.example/x", false, false},
		{"https://evil.example/fcm.googleapis.com", false, false},
		{"https://evil.example#fcm.googleapis.com", false, false},
		{"https://evil.example\\@fcm.googleapis.com/", false, false},
		{"https://FCM.googleapis.com/x", false, false},
		{"https://fcm.googleapis.com./x", false, false},
		{"https:fcm.googleapis.com", false, false},
		{"file:///etc/passwd", false, false},
		{"https://169.254.169.254/latest/meta-data", false, false},
		{"https://[::1]/x", false, false},
		{"https://10.0.0.1/x", false, false},
		{"https://2130706433/x", false, false},
		{"https://localhost/x", true, false},
		{"http://127.0.0.1:8080/x", true, false},
		{"http://127.0.0.2/x", false, false}, // not in the list
		{"ftp://127.0.0.1/x", false, false},
		{"", false, false},
		{"https://fcm.googleapis.com/" + strings.Repeat("x", 1024), false, false},
	} {
		if ok := g.Takes(c.address); ok != c.away {
			t.Errorf("%s: %v", c.address, ok)
		}
		if ok := home.Takes(c.address); ok != c.here {
			t.Errorf("%s, at home: %v", c.address, ok)
		}
	}
	// With a loopback host in the list and no leave for it, still nothing.
	if _, ok := made(t, Config{Hosts: []string{"localhost"}}).guard.endpoint("https://localhost/x"); ok {
		t.Error("loopback without leave")
	}
}

func TestOutside(t *testing.T) {
	for address, want := range map[string]bool{
		"142.250.187.10": true, "2a00:1450:4017:80c::200a": true, "17.188.143.1": true,
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "fe80::1%eth0": false, "fd00::1": false, "fec0::1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false, "192.0.0.8": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "2001::1": false, "::a00:1": false,
	} {
		if got := outside(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// names answers every question for an address with at.
func names(t *testing.T, at [4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: at}}}
			}
			if b, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name of the list that turns out to be an address inside is not connected to (P12: DNS rebinding).
func TestP12_NamesThatLeadInside(t *testing.T) {
	for _, at := range [][4]byte{{127, 0, 0, 1}, {10, 0, 0, 1}, {169, 254, 169, 254}} {
		for _, leave := range []bool{false, true} {
			g := made(t, Config{Hosts: []string{"push.example.org"}, Loopback: leave && at[0] != 127})
			g.guard.resolver = names(t, at)
			err := g.Send(t.Context(), message("https://push.example.org/x"))
			var f *notify.Failure
			if !errors.As(err, &f) || !errors.Is(f, errInside) || !f.Certain || f.Final {
				t.Errorf("%v: %v", at, err)
			}
		}
	}
}

func message(endpoint string) notify.Message {
	return notify.Message{
		To:   `{"kind":"webpush","endpoint":"` + endpoint + `","p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}`,
		Text: `{"kind":"approval","id":"1"}`, Deadline: time.Now().Add(time.Minute),
	}
}

// Somebody who picks a host of a *. that never answers opens nobody else's breaker, and is left alone for a while.
func TestHostOfOnesOwn(t *testing.T) {
	g := made(t, Config{Hosts: []string{"*.push.example.org"}})
	g.guard.resolver = names(t, [4]byte{10, 0, 0, 1})
	var f *notify.Failure
	if err := g.Send(t.Context(), message("https://a.push.example.org/x")); !errors.As(err, &f) || !f.Here || !f.Silent {
		t.Fatal(err)
	}
	if err := g.Send(t.Context(), message("https://a.push.example.org/y")); !errors.As(err, &f) || f.RetryAfter <= 0 || errors.Is(err, errInside) {
		t.Errorf("asked again: %v", err)
	}
	if err := g.Send(t.Context(), message("https://b.push.example.org/y")); !errors.Is(err, errInside) {
		t.Errorf("another host waits with it: %v", err)
	}
}

// The key follows from its seed alone, so that all replicas have the same.
func TestKey(t *testing.T) {
	a, err := NewKey(seed)
	b, err2 := NewKey(func(n int) []byte {
		if n == 0 {
			return make([]byte, 32) // zero is no key
		}
		return seed(n)
	})
	if err != nil || err2 != nil || a.Public() != b.Public() || len(a.Public()) != 87 {
		t.Errorf("%s %s %v %v", a.Public(), b.Public(), err, err2)
	}
	if _, err := NewKey(func(int) []byte { return make([]byte, 32) }); err == nil {
		t.Error("a key of nothing")
	}
	if got := fmt.Sprintf("%v %s %#v %+v", a, a, a, a); strings.ReplaceAll(got, "webpush.Key", "") != "   " {
		t.Errorf("a key that prints itself: %s", got)
	}
}

func TestNew(t *testing.T) {
	key, _ := NewKey(seed)
	for name, c := range map[string]Config{
		"no key":     {Contact: "https://a"},
		"no contact": {Key: key, Contact: "me"},
		"a scheme":   {Key: key, Contact: "https://a", Hosts: []string{"https://push.example.org"}},
		"a star":     {Key: key, Contact: "https://a", Hosts: []string{"*"}},
		"all of org": {Key: key, Contact: "https://a", Hosts: []string{"*.org"}},
		"capitals":   {Key: key, Contact: "https://a", Hosts: []string{"Push.example.org"}},
		"nothing":    {Key: key, Contact: "https://a", Hosts: []string{""}},
	} {
		if _, err := New(c); err == nil {
			t.Error(name)
		}
	}
}

// FuzzEndpoint: what a stranger names is never posted to beyond the list.
func FuzzEndpoint(f *testing.F) {
	f.Add("https://fcm.googleapis.com/x")
	f.Add("https://evil.example\\@fcm.googleapis.com/")
	f.Add("https://a.notify.windows.com:443?x#")
	g := &guard{hosts: Hosts}
	f.Fuzz(func(t *testing.T, address string) {
		host, ok := g.endpoint(address)
		if !ok {
			return
		}
		if !strings.HasPrefix(strings.ToLower(address), "https://") || !g.listed(host) || OnLoopback(host) {
			t.Errorf("%q leads to %q", address, host)
		}
	})
}
