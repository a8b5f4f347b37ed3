// Package mail owns the gateway for e-mail: one plain-text message over SMTP with STARTTLS (RFC 3207) or TLS from the start
// (RFC 8314), on wneessen/go-mail. The first line of a text is its subject. Enter with New. It refuses a server that does not
// offer TLS (but on loopback), an address that is more than an address, and a subject that could become a header.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/kapi-id/kapi/internal/notify"
)

// Config of a gateway.
type Config struct {
	Name     string
	Host     string
	Port     int
	User     string // "" = the server asks for none
	Password string
	Implicit bool           // TLS from the start (port 465) in place of STARTTLS
	From     string         // address that messages come from
	Sender   string         // its name; "" = none
	Roots    *x509.CertPool // nil = those of the system
	Now      func() time.Time
}

// timeout of one message, dialling included; the worker's own is 5 s.
const timeout = 4500 * time.Millisecond

const (
	mostAddress = 254 // RFC 5321 §4.5.3.1.3
	mostSubject = 200 // characters
	mostText    = 64 << 10
)

// Gateway sends messages.
type Gateway struct {
	c   Config
	tls gomail.TLSPolicy
}

// New checks the configuration.
func New(c Config) (*Gateway, error) {
	if c.Host == "" || c.Port < 1 || c.Port > 65535 {
		return nil, errors.New("mail: want smtp://user:password@host:port?from=kapi@example.org")
	}
	if !address(c.From) {
		return nil, errors.New("mail: from= is no e-mail address")
	}
	if strings.ContainsFunc(c.Sender, unicode.IsControl) || strings.ContainsAny(c.Sender, `"\<>`) {
		return nil, errors.New("mail: the sender's name holds what a header cannot")
	}
	if c.User != "" && c.Password == "" {
		return nil, errors.New("mail: a user without password")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Gateway{c: c, tls: gomail.TLSMandatory}
	if loopback(c.Host) {
		g.tls = gomail.TLSOpportunistic
	}
	return g, nil
}

// Name is the gateway's.
func (g *Gateway) Name() string { return g.c.Name }

// address says whether s is an address and nothing else: what is put into a command and a header of ours.
func address(s string) bool {
	if s == "" || len(s) > mostAddress || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && a.Name == ""
}

var errHeader = errors.New("the address or the subject holds what a header cannot")

// compose makes the message.
func (g *Gateway) compose(m notify.Message) (*gomail.Msg, error) {
	subject, text, _ := strings.Cut(m.Text, "\n")
	text = strings.TrimLeft(text, "\n")
	if text == "" {
		text = subject
	}
	switch {
	case !address(m.To), subject == "", strings.ContainsFunc(subject, unicode.IsControl), utf8.RuneCountInString(subject) > mostSubject:
		return nil, errHeader
	case len(text) > mostText || !utf8.ValidString(m.Text):
		return nil, errors.New("the text is too long or no text")
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	var err error
	if g.c.Sender == "" {
		err = msg.From(g.c.From)
	} else {
		err = msg.FromFormat(g.c.Sender, g.c.From)
	}
	if err = errors.Join(err, msg.To(m.To)); err != nil {
		return nil, errHeader // err would repeat the address
	}
	_, domain, _ := strings.Cut(g.c.From, "@")
	msg.Subject(subject)
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	msg.SetDateWithValue(g.c.Now())
	msg.SetGenHeader(gomail.Header("Auto-Submitted"), "auto-generated") // RFC 3834: no absence note comes back
	msg.SetBodyString(gomail.TypeTextPlain, text)
	return msg, nil
}

// Send delivers m to the server.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	msg, err := g.compose(m)
	if err != nil {
		return notify.Refused(err)
	}
	line := &line{}
	defer line.close()
	client, err := g.client(line)
	if err != nil {
		return notify.NotSent(errors.New("the client cannot be made"), false)
	}
	stop := context.AfterFunc(ctx, line.close) // the library looks at the deadline of its own only
	defer stop()
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what breaks after the server took the message is no matter
		return nil
	}
	return failure(err)
}

func (g *Gateway) client(l *line) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(g.c.Port), gomail.WithTimeout(timeout), gomail.WithHELO(g.helo()), gomail.WithoutNoop(),
		gomail.WithTLSConfig(&tls.Config{ServerName: g.c.Host, RootCAs: g.c.Roots, MinVersion: tls.VersionTLS12}),
	}
	if g.c.Implicit {
		options = append(options, gomail.WithSSL())
	} else {
		options = append(options, gomail.WithTLSPolicy(g.tls), gomail.WithDialContextFunc(l.dial))
	}
	if g.c.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(g.c.User), gomail.WithPassword(g.c.Password))
	}
	return gomail.NewClient(g.c.Host, options...)
}

// helo is the domain we send for; the machine's own name is nobody's business.
func (g *Gateway) helo() string {
	_, domain, _ := strings.Cut(g.c.From, "@")
	return domain
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// line keeps the connection, which the library leaves open when the greeting, TLS or authentication fails.
type line struct {
	mu   sync.Mutex
	open []net.Conn
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open = append(l.open, c)
	}
	return c, err
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		_ = c.Close()
	}
}

// failure says what an error means for the message. Its text is the library's and the server's and may hold the address: only the
// place and the code are kept.
func failure(err error) *notify.Failure {
	var s *gomail.SendError
	if !errors.As(err, &s) {
		return dialled(err)
	}
	code, reason := s.ErrorCode(), s.Reason
	said := fmt.Errorf("smtp: %s: code %d", reason, code)
	switch {
	case code == 0 && reason == gomail.ErrSMTPDataClose: // the message left, and no answer came
		return notify.Unsure(said)
	case code == 0:
		return notify.NotSent(said, true)
	case code/100 == 5 && (reason == gomail.ErrSMTPRcptTo || reason == gomail.ErrSMTPDataClose): // nobody there, or refused for what it is
		return notify.Refused(said)
	case code/100 == 4:
		return notify.Busy(said, 20*time.Second)
	}
	return notify.NotSent(said, false)
}

// dialled is a failure before the first word of the message.
func dialled(err error) *notify.Failure {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return notify.NotSent(errors.New("smtp: at the beginning: code "+strconv.Itoa(answer.Code)), false)
	}
	var n net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return notify.NotSent(fmt.Errorf("smtp: %s failed", op.Op), true)
	case errors.As(err, &n), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return notify.NotSent(errors.New("smtp: no answer"), true)
	}
	return notify.NotSent(errors.New("smtp: no connection, TLS or authentication as asked for"), false)
}
