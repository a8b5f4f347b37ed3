package smpp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/kapi-id/kapi/internal/notify"
)

func failure(err error) (f *notify.Failure) {
	errors.As(err, &f)
	return f
}

func textLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(&locked{w: w}, nil))
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// centre is a fake one for the faults that real ones do not have on demand.
type centre struct {
	net.Listener
	binds chan struct{}
	do    func(c net.Conn, p pdu.PDU) // for each PDU after the bind
}

func newCentre(t *testing.T, do func(net.Conn, pdu.PDU)) *centre {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &centre{Listener: l, binds: make(chan struct{}, 100), do: do}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	return c
}

func (c *centre) serve(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := pdu.Parse(conn)
		if err != nil {
			return
		}
		if b, ok := p.(*pdu.BindRequest); ok {
			write(conn, b.GetResponse())
			c.binds <- struct{}{}
			continue
		}
		c.do(conn, p)
	}
}

func write(conn net.Conn, p pdu.PDU) {
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	_, _ = conn.Write(b.Bytes())
}

func (c *centre) gateway(t *testing.T) *Gateway {
	t.Helper()
	g, err := New(Config{Name: "smpp", Address: c.Addr().String(), User: "kapi", Password: "x", From: "KAPI", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestFaults(t *testing.T) {
	status := func(s data.CommandStatusType) func(net.Conn, pdu.PDU) {
		return func(c net.Conn, p pdu.PDU) {
			r := p.GetResponse()
			if x, ok := r.(*pdu.SubmitSMResp); ok {
				x.CommandStatus = s
			}
			write(c, r)
		}
	}
	for _, c := range []struct {
		name string
		do   func(net.Conn, pdu.PDU)
		want *notify.Failure // nil = sent
	}{
		{"accepted", status(data.ESME_ROK), nil},
		{"throttled", status(data.ESME_RTHROTTLED), &notify.Failure{Certain: true}},
		{"queue full", status(data.ESME_RMSGQFUL), &notify.Failure{Certain: true}},
		{"system error", status(data.ESME_RSYSERR), &notify.Failure{Certain: true}},
		{"bad number", status(data.ESME_RINVDSTADR), &notify.Failure{Certain: true, Final: true}},
		{"nack", func(c net.Conn, p pdu.PDU) {
			n := pdu.NewGenericNack()
			n.SetSequenceNumber(p.GetSequenceNumber())
			write(c, n)
		}, &notify.Failure{Certain: true}},
		{"no answer", func(net.Conn, pdu.PDU) {}, &notify.Failure{Silent: true}},
		{"connection lost", func(c net.Conn, _ pdu.PDU) { c.Close() }, &notify.Failure{Silent: true}},
		{"answer to something else", func(c net.Conn, p pdu.PDU) {
			r := p.GetResponse()
			r.SetSequenceNumber(p.GetSequenceNumber() + 1000)
			write(c, r)
		}, &notify.Failure{Silent: true}},
		{"rubbish", func(c net.Conn, _ pdu.PDU) { _, _ = c.Write(make([]byte, 100)) }, &notify.Failure{Silent: true}},
		{"a command of no centre", func(c net.Conn, p pdu.PDU) { write(c, pdu.NewQuerySM()) }, &notify.Failure{Silent: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smsc := newCentre(t, c.do)
			g := smsc.gateway(t)
			run(t, g)
			until(t, "bound", g.Ready)
			ctx := minute(t)
			if strings.Contains(c.name, "answer") { // of those nothing ever comes
				short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				ctx = short
			}
			f := failure(g.Send(ctx, message("+905550000001", "123456")))
			if (f == nil) != (c.want == nil) {
				t.Fatalf("%+v", f)
			}
			if f != nil && (f.Certain != c.want.Certain || f.Final != c.want.Final || f.Silent != c.want.Silent) {
				t.Fatalf("%+v", f)
			}
			if f != nil && (strings.Contains(f.Error(), "123456") || strings.Contains(f.Error(), "90555")) {
				t.Fatalf("the error repeats the message: %v", f)
			}
		})
	}
}

func TestReconnects(t *testing.T) {
	smsc := newCentre(t, func(c net.Conn, p pdu.PDU) {
		if s, ok := p.(*pdu.SubmitSM); ok {
			if text, _ := s.Message.GetMessage(); text == "000000" {
				c.Close()
				return
			}
			write(c, s.GetResponse())
		}
	})
	g := smsc.gateway(t)
	if f := failure(g.Send(t.Context(), message("+905550000001", "123456"))); f == nil || !f.Certain || !f.Silent || g.Ready() {
		t.Fatalf("before there is a connection: %+v", f)
	}
	stop := run(t, g)
	<-smsc.binds
	until(t, "bound", g.Ready)
	if f := failure(g.Send(minute(t), message("+905550000001", "000000"))); f == nil || f.Certain {
		t.Fatalf("cut: %+v", f)
	}
	<-smsc.binds
	until(t, "bound again", g.Ready)
	if err := g.Send(minute(t), message("+905550000001", "123456")); err != nil {
		t.Fatal(err)
	}
	stop()
	if g.Ready() {
		t.Fatal("ready after the end")
	}
}

func TestManyAtOnce(t *testing.T) {
	smsc := newCentre(t, func(c net.Conn, p pdu.PDU) {
		if p.CanResponse() {
			write(c, p.GetResponse())
		}
	})
	g := smsc.gateway(t)
	run(t, g)
	until(t, "bound", g.Ready)
	ctx := minute(t)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := g.Send(ctx, message("+905550000001", "123456")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b := g.current()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) != 0 {
		t.Errorf("%d requests still wait", len(b.waiting))
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts in the kernel and never answers the bind
	for _, address := range []string{l.Addr().String(), "127.0.0.1:1"} {
		g, err := New(Config{Name: "smpp", Address: address, User: "kapi", From: "KAPI", Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, g)
		if f := failure(g.Send(t.Context(), message("+905550000001", "123456"))); f == nil || !f.Certain || g.Ready() {
			t.Errorf("%s: %+v", address, f)
		}
		stop() // ends at once, whatever the connection is waiting for
	}
}

func TestEncoding(t *testing.T) {
	for _, c := range []struct {
		text   string
		coding byte
		ok     bool
	}{
		{"123456 is your code", 0, true},
		{"@£$ÇöÜ§", 0, true},
		{strings.Repeat("x", 160), 0, true},
		{strings.Repeat("x", 161), 0, false},
		{strings.Repeat("{", 80), 0, true},
		{strings.Repeat("{", 81), 0, false},
		{"ğ", 8, true},
		{strings.Repeat("ğ", 70), 8, true},
		{strings.Repeat("ğ", 71), 8, false},
		{strings.Repeat("🙂", 35), 8, true},
		{strings.Repeat("🙂", 36), 8, false},
	} {
		e, err := encoding(c.text)
		if (err == nil) != c.ok || err == nil && e.DataCoding() != c.coding {
			t.Errorf("%.10q: %v %v", c.text, e, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for from, want := range map[string][2]byte{"KAPI": {5, 0}, "e Devlet 24": {5, 0}, "+905559990000": {1, 1}, "905559990000": {1, 1}, "3456": {3, 0}} {
		a, err := sender(from)
		if err != nil || a.Ton() != want[0] || a.Npi() != want[1] || a.Address() != strings.TrimPrefix(from, "+") {
			t.Errorf("%s: %+v %v", from, a, err)
		}
	}
	for _, from := range []string{"", "Twelve chars", "a_b", "Kapı", "+90 555"} {
		if _, err := sender(from); err == nil {
			t.Errorf("sender %q accepted", from)
		}
	}
	for _, to := range []string{"", "905550000001", "+90555x", "+12", "+1234567890123456"} {
		if _, err := destination(to); err == nil {
			t.Errorf("destination %q accepted", to)
		}
	}
}

func TestValidity(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Minute: "000000000500000R", 59 * time.Second: "000000000059000R", -time.Hour: "000000000001000R",
		90 * time.Minute: "000000013000000R", 48 * time.Hour: "000000230000000R",
	} {
		if got := validity(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestReceiptState(t *testing.T) {
	for _, c := range []struct {
		esm   byte
		text  string
		tlv   []byte
		want  string
		heard bool
	}{
		{4, "id:1 stat:DELIVRD err:000 text:123456", nil, "DELIVRD", true},
		{4, "id:1 STAT:undeliv err:001", nil, "UNDELIV", true},
		{4, "id:1 stat:DELIVRD", []byte{3}, "EXPIRED", true},
		{4, "id:1 stat:SECRETS text:123456", nil, "UNKNOWN", true},
		{4, "", []byte{99}, "UNKNOWN", true},
		{0, "stat:DELIVRD", nil, "", false},
	} {
		var log strings.Builder
		g, err := New(Config{Name: "smpp", Address: "127.0.0.1:1", User: "kapi", From: "KAPI", Log: textLog(&log)})
		if err != nil {
			t.Fatal(err)
		}
		got, heard := "", false
		g.OnReceipt = func(s string) { got, heard = s, true }
		d := pdu.NewDeliverSM().(*pdu.DeliverSM)
		d.EsmClass = c.esm
		if err := d.Message.SetMessageWithEncoding(c.text, data.GSM7BIT); err != nil {
			t.Fatal(err)
		}
		if c.tlv != nil {
			d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: c.tlv})
		}
		g.received(&bind{}, d)
		if got != c.want || heard != c.heard {
			t.Errorf("%q %v: %q", c.text, c.tlv, got)
		}
		if strings.Contains(log.String(), "123456") || strings.Contains(log.String(), "SECRETS") {
			t.Errorf("log: %s", log.String())
		}
	}
}

func TestNew(t *testing.T) {
	good := Config{Name: "smpp", Address: "smsc.example:2775", User: "kapi", Password: "hidden-password", From: "KAPI"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no port":     func(c *Config) { c.Address = "smsc.example" },
		"no user":     func(c *Config) { c.User = "" },
		"long user":   func(c *Config) { c.User = "sixteen-letters!" },
		"system type": func(c *Config) { c.SystemType = "thirteen-char" },
		"sender":      func(c *Config) { c.From = "" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "hidden-password") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
