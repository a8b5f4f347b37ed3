package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testcert"
)

// server is a real SMTP server whose answers a test chooses.
type server struct {
	*smtp.Server
	port     int
	roots    *x509.CertPool
	mailFrom error
	rcptTo   error
	data     error
	open     bool // asks nobody who he is
	drop     bool // the connection breaks where the answer to the message belongs
	hang     chan struct{}

	mu   sync.Mutex
	got  []string
	from []string
	to   []string
	user string
	safe bool // the message came over TLS
}

type session struct {
	s    *server
	conn *smtp.Conn
	user string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "kapi" || password != "the password" {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}
func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.user == "" && !s.s.open {
		return smtp.ErrAuthRequired
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.from, s.s.user = append(s.s.from, from), s.user
	return s.s.mailFrom
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.to = append(s.s.to, to)
	return s.s.rcptTo
}
func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, safe := s.conn.TLSConnectionState()
	s.s.mu.Lock()
	s.s.got, s.s.safe = append(s.s.got, string(b)), safe
	s.s.mu.Unlock()
	if s.s.hang != nil {
		<-s.s.hang
	}
	if s.s.drop {
		_ = s.conn.Conn().Close()
	}
	return s.s.data
}

func start(t *testing.T, change func(*server)) *server {
	t.Helper()
	cert := testcert.Issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "mail"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}, nil)
	s := &server{roots: x509.NewCertPool()}
	s.roots.AddCert(cert.Leaf)
	s.Server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{s: s, conn: c}, nil }))
	s.Domain = "mail.example.org"
	s.ErrorLog = quiet{}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *server) gateway(t *testing.T, change func(*Config)) *Gateway {
	t.Helper()
	c := Config{Name: "mail-smtp", Host: "127.0.0.1", Port: s.port, User: "kapi", Password: "the password", From: "kapi@example.org", Sender: "Kapı", Roots: s.roots,
		Now: func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }}
	if change != nil {
		change(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	g.tls = gomail.TLSMandatory // as with every host but this machine
	return g
}

var message = notify.Message{ID: "0198c0de-0000-7000-8000-000000000001", Channel: "mail", To: "ayse@example.com", Text: "Kapı: yeni oturum\n\nMerhaba Ayşe,\n.\nbu siz değilseniz bildirin."}

func TestMessageArrives(t *testing.T) {
	s := start(t, nil)
	if err := s.gateway(t, nil).Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != 1 || s.to[0] != "ayse@example.com" || s.from[0] != "kapi@example.org" || s.user != "kapi" || !s.safe {
		t.Fatalf("%d messages, from %v to %v as %q, over TLS %v", len(s.got), s.from, s.to, s.user, s.safe)
	}
	m, err := mail.ReadMessage(strings.NewReader(s.got[0]))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"To": "<ayse@example.com>", "Message-Id": "<0198c0de-0000-7000-8000-000000000001@example.org>", "Auto-Submitted": "auto-generated",
		"Date": "Fri, 02 Jan 2026 15:04:05 +0000", "Subject": "=?UTF-8?q?Kap=C4=B1:_yeni_oturum?=",
	} {
		if got := m.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if strings.Contains(strings.ToLower(s.got[0]), "go-mail") {
		t.Error("the message says what it was sent with")
	}
}

// A server without TLS gets neither the password nor the message.
func TestTLSIsMandatory(t *testing.T) {
	s := start(t, func(s *server) { s.TLSConfig, s.AllowInsecureAuth = nil, true })
	err := s.gateway(t, nil).Send(t.Context(), message)
	var f *notify.Failure
	if !errors.As(err, &f) || !f.Certain || len(s.got) != 0 || len(s.from) != 0 {
		t.Fatalf("%v, %d messages", err, len(s.got))
	}
	// And one with a certificate that nobody vouches for neither.
	s = start(t, nil)
	err = s.gateway(t, func(c *Config) { c.Roots = x509.NewCertPool() }).Send(t.Context(), message)
	if !errors.As(err, &f) || !f.Certain || len(s.from) != 0 {
		t.Fatalf("%v, %d messages", err, len(s.got))
	}
	// On this machine it may be plain.
	s = start(t, func(s *server) { s.TLSConfig, s.open = nil, true })
	g := s.gateway(t, func(c *Config) { c.User, c.Password = "", "" })
	g.tls = gomail.TLSOpportunistic
	if err := g.Send(t.Context(), message); err != nil || len(s.got) != 1 {
		t.Fatalf("%v, %d messages", err, len(s.got))
	}
}

func TestO4_MailServerInTrouble(t *testing.T) {
	code := func(n int) error { return &smtp.SMTPError{Code: n, Message: "about ayse@example.com"} }
	for _, c := range []struct {
		name                   string
		change                 func(*server)
		config                 func(*Config)
		certain, final, silent bool
	}{
		{name: "wrong password", config: func(c *Config) { c.Password = "not the password" }, certain: true},
		{name: "sender refused", change: func(s *server) { s.mailFrom = code(550) }, certain: true},
		{name: "nobody there", change: func(s *server) { s.rcptTo = code(550) }, certain: true, final: true},
		{name: "later, perhaps", change: func(s *server) { s.rcptTo = code(451) }, certain: true},
		{name: "message refused", change: func(s *server) { s.data = code(554) }, certain: true, final: true},
		{name: "no room", change: func(s *server) { s.data = code(452) }, certain: true},
		{name: "breaks after the message", change: func(s *server) { s.drop = true }, silent: true},
		{name: "hangs after the message", change: func(s *server) { s.hang = make(chan struct{}) }, silent: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.change)
			if s.hang != nil {
				defer close(s.hang)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.gateway(t, c.config).Send(ctx, message)
			var f *notify.Failure
			if !errors.As(err, &f) || f.Certain != c.certain || f.Final != c.final || f.Silent != c.silent {
				t.Fatalf("%+v", err)
			}
			for _, secret := range []string{"ayse", "password", "127.0.0.1"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats %q: %v", secret, err)
				}
			}
		})
	}
}

func TestO4_MailServerDead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts, and never says a word
	dead := &server{port: l.Addr().(*net.TCPAddr).Port}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var f *notify.Failure
	if err := dead.gateway(t, nil).Send(ctx, message); !errors.As(err, &f) || !f.Certain || !f.Silent {
		t.Errorf("silent: %+v", err)
	}
	_ = l.Close()
	if err := dead.gateway(t, nil).Send(t.Context(), message); !errors.As(err, &f) || !f.Certain || !f.Silent {
		t.Errorf("refused: %+v", err)
	}
}

// Nothing that comes from a person becomes a header or a second address.
func TestHeaderInjection(t *testing.T) {
	s := start(t, nil)
	g := s.gateway(t, nil)
	for _, m := range []notify.Message{
		{To: "ayse@example.com\r\nBcc: all@example.com", Text: "a\nb"}, {To: "a@example.com, b@example.com", Text: "a\nb"}, {To: "Ayşe <a@example.com>", Text: "a\nb"},
		{To: "a@example.com>\r\nRCPT TO:<b@example.com", Text: "a\nb"}, {To: "", Text: "a\nb"}, {To: "ayşe@example.com", Text: "a\nb"},
		{To: "ayse@example.com", Text: "Hello\r\nBcc: all@example.com\n\ntext"}, {To: "ayse@example.com", Text: "\ntext"}, {To: "ayse@example.com", Text: strings.Repeat("a", 201)},
	} {
		var f *notify.Failure
		if err := g.Send(t.Context(), m); !errors.As(err, &f) || !f.Final {
			t.Errorf("%q %q: %v", m.To, m.Text, err)
		}
	}
	if len(s.from) != 0 {
		t.Error("the server heard of it")
	}
	for _, c := range []Config{
		{Host: "h", Port: 25, From: "kapi@example.org\r\nBcc: x@example.org"}, {Host: "h", Port: 25, From: "kapi@example.org", Sender: "a\r\nb"}, {Host: "h", Port: 25, From: "kapi"},
		{Host: "", Port: 25, From: "kapi@example.org"}, {Host: "h", From: "kapi@example.org"}, {Host: "h", Port: 25, From: "kapi@example.org", User: "u"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("ayse@example.com", "subject\n\ntext")
	f.Add("a@b\r\nBcc: c@d", "s\rx\ny")
	g, err := New(Config{Host: "h", Port: 25, From: "kapi@example.org"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to, text string) {
		msg, err := g.compose(notify.Message{ID: "1", To: to, Text: text})
		if err != nil {
			return
		}
		var b strings.Builder
		if _, err := msg.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(strings.NewReader(b.String()))
		if err != nil {
			t.Fatalf("%q %q: %v", to, text, err)
		}
		all, err := m.Header.AddressList("To")
		if err != nil || len(all) != 1 || all[0].Address != to || m.Header.Get("Bcc") != "" || m.Header.Get("Cc") != "" {
			t.Fatalf("%q %q became %v", to, text, m.Header)
		}
	})
}
