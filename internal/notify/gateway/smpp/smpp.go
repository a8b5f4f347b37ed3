// Package smpp owns the gateway to a short message centre over SMPP 3.4: one transceiver connection that is kept, asked after and
// made again, and one submit_sm per message. Enter with New; the worker calls Run. It refuses a text that needs more than one
// short message, and it never logs a number, a text or what a receipt quotes of it.
package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp"
	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/kapi-id/kapi/internal/notify"
)

// Times of the connection.
const (
	dialTimeout  = 5 * time.Second
	bindTimeout  = 10 * time.Second
	writeTimeout = 5 * time.Second
	enquireEvery = 30 * time.Second // enquire_link, SMPP 3.4 §4.11
	silentMost   = 45 * time.Second // without a PDU of theirs the connection is dead
	firstWait    = time.Second      // before binding again; doubled up to lastWait
	lastWait     = 30 * time.Second
)

// Config of a gateway.
type Config struct {
	Name       string
	Address    string // host:port
	User       string // system_id
	Password   string
	SystemType string
	From       string // sender: up to 11 letters and digits, or a number
	TLS        bool
	NoValidity bool // leave validity_period empty, for centres that refuse a relative one
	Log        *slog.Logger
	Now        func() time.Time
	OnReceipt  func(state string) // "DELIVRD", "EXPIRED", … of each delivery receipt; nil = only logged
}

// Gateway is the connection.
type Gateway struct {
	Config
	source pdu.Address
	heard  func(*pdu.DeliverSM) // of the tests

	mu    sync.Mutex
	bound *bind // nil while there is none
}

// bind is one bound connection with the requests that wait on it.
type bind struct {
	session *gosmpp.Session
	gone    chan struct{} // closed when the connection is
	once    sync.Once

	mu      sync.Mutex
	waiting map[int32]chan pdu.PDU // by sequence number
}

// New checks the configuration; it connects in Run.
func New(c Config) (*Gateway, error) {
	if _, port, err := net.SplitHostPort(c.Address); err != nil || port == "" {
		return nil, errors.New("smpp: want smpp://user:password@host:port")
	}
	if c.User == "" || len(c.User) > 15 || len(c.SystemType) > 12 { // SMPP 3.4 §5.2.1, §5.2.3
		return nil, errors.New("smpp: the user has 1 to 15 characters, the system type up to 12")
	}
	g := &Gateway{Config: c}
	var err error
	if g.source, err = sender(c.From); err != nil {
		return nil, err
	}
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	return g, nil
}

func (g *Gateway) Name() string { return g.Config.Name }

// Ready says whether a connection is bound.
func (g *Gateway) Ready() bool { return g.current() != nil }

func (g *Gateway) current() *bind {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bound
}

func (g *Gateway) set(b *bind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bound = b
}

// Run keeps a connection bound until ctx ends, then unbinds.
func (g *Gateway) Run(ctx context.Context) {
	wait := firstWait
	for ctx.Err() == nil {
		b, err := g.bind(ctx)
		if err != nil {
			if ctx.Err() == nil {
				g.Log.Warn("smpp: not bound", "gateway", g.Name(), "error", err)
			}
		} else {
			g.Log.Info("smpp: bound", "gateway", g.Name())
			g.set(b)
			since := time.Now()
			select {
			case <-b.gone:
				g.Log.Warn("smpp: connection lost", "gateway", g.Name())
			case <-ctx.Done():
			}
			g.set(nil)
			b.end()
			_ = b.session.Close()
			if time.Since(since) > lastWait {
				wait = firstWait
			}
		}
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(2*wait, lastWait)
	}
}

// bind connects and binds as transceiver. The library neither limits nor cancels that, so both are done on the connection.
func (g *Gateway) bind(ctx context.Context) (*bind, error) {
	b := &bind{gone: make(chan struct{}), waiting: map[int32]chan pdu.PDU{}}
	release := func() bool { return true }
	dial := func(address string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil && g.TLS {
			conn, err = g.secure(ctx, conn)
		}
		if err != nil {
			return nil, err
		}
		release = context.AfterFunc(ctx, func() { _ = conn.Close() })
		return newGuard(conn), conn.SetDeadline(time.Now().Add(bindTimeout))
	}
	auth := gosmpp.Auth{SMSC: g.Address, SystemID: g.User, Password: g.Password, SystemType: g.SystemType}
	session, err := gosmpp.NewSession(gosmpp.TRXConnector(dial, auth), gosmpp.Settings{
		ReadTimeout:  silentMost,
		WriteTimeout: writeTimeout,
		EnquireLink:  enquireEvery,
		OnPDU:        func(p pdu.PDU, _ bool) { g.received(b, p) },
		OnSubmitError: func(p pdu.PDU, _ error) {
			b.end() // what was half written cannot be followed by anything
		},
		OnReceivingError: func(error) { b.end() },
		OnClosed:         func(gosmpp.State) { b.end() },
	}, 0)
	release()
	if err != nil {
		return nil, err
	}
	b.session = session
	return b, nil
}

func (g *Gateway) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(g.Address)
	c := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// end tells everybody that the connection is over.
func (b *bind) end() { b.once.Do(func() { close(b.gone) }) }

// received hands an answer to whoever waits for it, and reads receipts.
func (g *Gateway) received(b *bind, p pdu.PDU) {
	switch p := p.(type) {
	case *pdu.SubmitSMResp, *pdu.GenericNack:
		b.mu.Lock()
		answer := b.waiting[p.GetSequenceNumber()]
		delete(b.waiting, p.GetSequenceNumber())
		b.mu.Unlock()
		if answer != nil {
			answer <- p
		}
	case *pdu.DeliverSM:
		if g.heard != nil && p.EsmClass == 0 {
			g.heard(p)
		}
		g.receipt(p)
	}
}

// Send submits m and waits for the centre's answer.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	b := g.current()
	if b == nil {
		return notify.NotSent(errors.New("no connection is bound"), true)
	}
	p, err := g.submit(m)
	if err != nil {
		return notify.Refused(err)
	}
	answer := make(chan pdu.PDU, 1)
	seq := p.GetSequenceNumber()
	b.mu.Lock()
	b.waiting[seq] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.waiting, seq)
		b.mu.Unlock()
	}()
	if err := b.session.Transceiver().Submit(p); err != nil {
		return notify.NotSent(err, true) // it was not even queued
	}
	select {
	case a := <-answer:
		return verdict(a)
	case <-b.gone:
		select {
		case a := <-answer: // it came just before the end
			return verdict(a)
		default:
		}
		return notify.Unsure(errors.New("the connection was lost before the answer"))
	case <-ctx.Done():
		return notify.Unsure(ctx.Err())
	}
}

// submit builds the request.
func (g *Gateway) submit(m notify.Message) (*pdu.SubmitSM, error) {
	p := pdu.NewSubmitSM().(*pdu.SubmitSM)
	p.SourceAddr = g.source
	to, err := destination(m.To)
	if err != nil {
		return nil, err
	}
	p.DestAddr = to
	enc, err := encoding(m.Text)
	if err != nil {
		return nil, err
	}
	if err := p.Message.SetMessageWithEncoding(m.Text, enc); err != nil {
		return nil, errors.New("the text cannot be encoded")
	}
	p.RegisteredDelivery = 1 // a receipt for delivery and for failure, SMPP 3.4 §5.2.17
	if !g.NoValidity {
		p.ValidityPeriod = validity(m.Deadline.Sub(g.Now()))
	}
	return p, nil
}

// verdict reads command_status (SMPP 3.4 §5.1.3).
func verdict(p pdu.PDU) error {
	status := p.GetHeader().CommandStatus
	err := fmt.Errorf("command_status 0x%08X", uint32(status))
	if _, nack := p.(*pdu.GenericNack); nack {
		return notify.NotSent(fmt.Errorf("generic_nack: %w", err), false)
	}
	switch status {
	case data.ESME_ROK:
		return nil
	case data.ESME_RTHROTTLED, data.ESME_RMSGQFUL:
		return notify.Busy(err, 0)
	case data.ESME_RINVDSTADR, data.ESME_RINVMSGLEN, data.ESME_RINVDSTTON, data.ESME_RINVDSTNPI:
		return notify.Refused(err)
	}
	return notify.NotSent(err, false)
}
