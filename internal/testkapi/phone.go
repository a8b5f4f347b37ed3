package testkapi

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// Phone is a gateway that keeps what it is given.
type Phone struct {
	mu       sync.Mutex
	fail     func(m notify.Message) error
	messages []notify.Message
}

// Fails makes it refuse what fail refuses; nil = nothing.
func (p *Phone) Fails(fail func(m notify.Message) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

var errNoCode = errors.New("no code came")

func (p *Phone) Name() string { return "phone" }

// Send keeps the message.
func (p *Phone) Send(_ context.Context, m notify.Message) error {
	p.mu.Lock()
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		if err := fail(m); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, m)
	return nil
}

// Inbox returns the texts that came for a number or address, oldest first, but those that only tell of something: see Notices.
func (p *Phone) Inbox(number string) []string { return p.texts(number, false) }

// Notices returns the texts and mails for a number or address that tell of something that happened, oldest first.
func (p *Phone) Notices(number string) []string { return p.texts(number, true) }

// notice is how each text and mail begins that only tells of something.
var notice = regexp.MustCompile("^(Kapı:|Güvenlik bildirimi:|Security notice:)")

func (p *Phone) texts(number string, notices bool) (texts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		if m.To == number && notice.MatchString(m.Text) == notices {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// Code waits for the n-th text to the number (from 1) and returns its code. The worker sends beside the request, so this is
// the one place of the tests that waits for another goroutine; it gives up after 20 s of real time.
func (p *Phone) Code(t testing.TB, number string, n int) string {
	t.Helper()
	for range 2000 {
		if texts := p.Inbox(number); len(texts) >= n {
			return texts[n-1][:6]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: %v: %v", number, errNoCode, slices.Clone(p.Inbox(number)))
	return ""
}

// Told waits for the n-th notice to the number or address (from 1), as Code does, and returns it.
func (p *Phone) Told(t testing.TB, to string, n int) string {
	t.Helper()
	for range 2000 {
		if texts := p.Notices(to); len(texts) >= n {
			return texts[n-1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: notice %d did not come: %q", to, n, p.Notices(to))
	return ""
}
