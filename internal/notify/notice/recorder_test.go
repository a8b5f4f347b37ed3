package notice

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/throttle"
)

var noon = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC) // 12:00 in Türkiye

// world is what stands behind a recorder. A failing Atomically takes back what was written.
type world struct {
	Store
	now      time.Time
	locale   string
	contacts contact.Contacts
	routes   map[string]bool
	events   []audit.Event
	sent     []notify.Message
	notices  []Notice
	hits     map[string][]time.Time
	deaf     bool // the record fails
	full     bool // the outbox fails
	reads    int
}

func newWorld(t *testing.T) (*world, *Recorder) {
	w := &world{now: noon, locale: "en", routes: map[string]bool{"mail": true, "sms": true, "push": true}, hits: map[string][]time.Time{},
		contacts: contact.Contacts{Phone: contact.Phone{Number: "+905550000001", Grade: contact.IDVerified}, Email: contact.Email{Address: "ayse@example.org", Verified: true}}}
	return w, &Recorder{Next: w, Store: w, Accounts: w, Contacts: w, Throttle: throttleOf{w}, Words: catalogue(t), Routed: func(c string) bool { return w.routes[c] },
		Push: func(context.Context, account.ID) ([]string, error) { return []string{`{"kind":"webpush"}`}, nil },
		Place: func(network, lang string) string {
			return map[string]string{"en": "Ankara", "tr": "Ankara"}[lang] + " (" + network + ")"
		},
		Token: func() (string, []byte) { return "secret-token", []byte("hash") }, Issuer: "https://kapi.example", Now: func() time.Time { return w.now }}
}

func (w *world) Atomically(ctx context.Context, fn func(context.Context) error) error {
	events, sent, notices, hits := slices.Clone(w.events), slices.Clone(w.sent), slices.Clone(w.notices), maps.Clone(w.hits)
	err := fn(ctx)
	if err != nil {
		w.events, w.sent, w.notices, w.hits = events, sent, notices, hits
	}
	return err
}
func (w *world) Record(_ context.Context, e audit.Event) error {
	if w.deaf {
		return errors.New("the record is away")
	}
	w.events = append(w.events, e)
	return nil
}
func (w *world) Enqueue(_ context.Context, m notify.Message) error {
	if w.full {
		return errors.New("the outbox is away")
	}
	for _, o := range w.sent {
		if o.Dedupe == m.Dedupe {
			return nil
		}
	}
	w.sent = append(w.sent, m)
	return nil
}
func (w *world) AddNotice(_ context.Context, n Notice) error {
	w.notices = append(w.notices, n)
	return nil
}
func (w *world) Account(context.Context, account.ID) (account.Account, error) {
	w.reads++
	return account.Account{ID: "ayse", Locale: w.locale}, nil
}
func (w *world) Contacts(context.Context, account.ID) (contact.Contacts, error) {
	w.reads++
	return w.contacts, nil
}

type throttleOf struct{ *world }

func (s throttleOf) Hit(_ context.Context, key string, ws []throttle.Window, now time.Time) (time.Duration, error) {
	s.reads++
	n := 0
	for _, at := range s.hits[key] {
		if at.Add(ws[0].Per).After(now) {
			n++
		}
	}
	if n >= ws[0].N {
		return time.Minute, nil
	}
	s.hits[key] = append(slices.Clip(s.hits[key]), now)
	return 0, nil
}
func (throttleOf) Take(context.Context, string, throttle.Ladder, time.Time) (throttle.Verdict, error) {
	return throttle.Verdict{}, errors.New("not here")
}
func (throttleOf) GiveBack(context.Context, string) error { return errors.New("not here") }
func (throttleOf) Clear(context.Context, ...string) error { return errors.New("not here") }

func (w *world) to(channel string) (out []string) {
	for _, m := range w.sent {
		if m.Channel == channel {
			out = append(out, m.To)
		}
	}
	return out
}

var changed = audit.Event{Name: audit.PasswordChanged, Outcome: "ok", Subject: "ayse", At: noon, Network: "192.0.2.7",
	Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}

func TestTold(t *testing.T) {
	w, r := newWorld(t)
	if err := r.Record(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if len(w.events) != 1 || len(w.notices) != 1 || w.notices[0].ID != w.events[0].ID || w.notices[0].Key != "notice.password" || w.notices[0].Network != "192.0.2.7" {
		t.Fatalf("events %+v, notices %+v", w.events, w.notices)
	}
	if len(w.to("mail")) != 1 || len(w.to("sms")) != 1 || len(w.to("push-webpush")) != 1 {
		t.Fatalf("%+v", w.sent)
	}
	for _, m := range w.sent {
		if m.Account != "ayse" || !m.Deadline.After(w.now) || m.Dedupe == "" {
			t.Errorf("%+v", m)
		}
		switch m.Channel {
		case "mail":
			first, rest, _ := strings.Cut(m.Text, "\n")
			if first != "Security notice: Your password was changed" {
				t.Errorf("subject %q", first)
			}
			for _, part := range []string{"4 Mar 2026, 12:00", "Ankara (192.0.2.7), Firefox, Linux", "If this was you, there is nothing to do.", "https://kapi.example/not-me?t=secret-token"} {
				if !strings.Contains(rest, part) {
					t.Errorf("the mail does not say %q:\n%s", part, m.Text)
				}
			}
		case "sms":
			if !strings.HasPrefix(m.Text, "Kapı: Your password was changed. 4 Mar 2026 12:00, Ankara (192.0.2.7).") || !strings.Contains(m.Text, "It was not me") {
				t.Errorf("text %q", m.Text)
			}
		case "push-webpush":
			if m.Text != `{"id":"`+w.notices[0].ID+`","kind":"notice"}` {
				t.Errorf("push %q", m.Text)
			}
		}
	}
	if n := w.notices[0]; !bytes.Equal(n.Token, []byte("hash")) || !n.TokenUntil.Equal(noon.Add(TokenLife)) {
		t.Errorf("token %x until %v", n.Token, n.TokenUntil)
	}
	w.locale = ""
	w.sent = nil
	if err := r.Record(t.Context(), changed); err != nil || !strings.Contains(w.sent[0].Text, "Şifreniz değiştirildi") || !strings.Contains(w.sent[0].Text, "04.03.2026, 12:00") {
		t.Errorf("%v: %+v", err, w.sent)
	}
}

// The address and number of before hear of it until their hold is over (row RC3); what was only typed in hears of nothing.
func TestWhoIsTold(t *testing.T) {
	tests := []struct {
		name  string
		c     contact.Contacts
		mail  []string
		phone []string
	}{
		{"proven", contact.Contacts{Phone: contact.Phone{Number: "+1", Grade: contact.Verified}, Email: contact.Email{Address: "a", Verified: true}}, []string{"a"}, []string{"+1"}},
		{"typed in", contact.Contacts{Phone: contact.Phone{Number: "+1", Grade: contact.Declared}, Email: contact.Email{Address: "a"}}, nil, nil},
		{"on its way in", contact.Contacts{NewPhone: contact.Phone{Number: "+2", Grade: contact.Verified}, NewEmail: contact.Email{Address: "b"}}, nil, nil},
		{"replaced an hour ago", contact.Contacts{Phone: contact.Phone{Number: "+1", Grade: contact.IDVerified}, Email: contact.Email{Address: "a", Verified: true}, OldPhone: "+0", OldEmail: "o",
			OldUntil: noon.Add(time.Hour)}, []string{"a", "o"}, []string{"+1", "+0"}},
		{"removed an hour ago", contact.Contacts{OldPhone: "+0", OldEmail: "o", OldUntil: noon.Add(time.Hour)}, []string{"o"}, []string{"+0"}},
		{"replaced long ago", contact.Contacts{OldPhone: "+0", OldEmail: "o", OldUntil: noon}, nil, nil},
		{"SIM changed", contact.Contacts{Phone: contact.Phone{Number: "+1", Grade: contact.IDVerified, BlockedAt: noon}}, nil, nil},
		{"nothing", contact.Contacts{}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r := newWorld(t)
			w.contacts = tt.c
			if err := r.Record(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(w.to("mail"), tt.mail) || !slices.Equal(w.to("sms"), tt.phone) || len(w.notices) != 1 {
				t.Errorf("mail %v, sms %v, %d in the list", w.to("mail"), w.to("sms"), len(w.notices))
			}
		})
	}
}

func TestNoRouteNoMessage(t *testing.T) {
	w, r := newWorld(t)
	w.routes, w.full = nil, true
	if err := r.Record(t.Context(), changed); err != nil || len(w.sent) > 0 || len(w.notices) != 1 || w.notices[0].Token != nil {
		t.Errorf("%v: sent %+v, list %+v", err, w.sent, w.notices)
	}
	w, r = newWorld(t)
	r.Push, r.Place = nil, nil
	if err := r.Record(t.Context(), changed); err != nil || len(w.to("push-webpush")) > 0 || !strings.Contains(w.sent[0].Text, "192.0.2.7, Firefox") {
		t.Errorf("%v: %+v", err, w.sent)
	}
}

func TestToldTogetherWithTheRecord(t *testing.T) {
	w, r := newWorld(t)
	w.deaf = true
	if err := r.Record(t.Context(), changed); err == nil || len(w.sent)+len(w.notices) > 0 {
		t.Errorf("told of what was not recorded: %v, %+v", err, w.sent)
	}
	w, r = newWorld(t)
	w.full = true
	if err := r.Record(t.Context(), changed); err == nil || len(w.events)+len(w.notices) > 0 {
		t.Errorf("recorded, and nobody told: %v, %+v", err, w.events)
	}
}

// A usual sign-in costs nothing but its record.
func TestNothingToTellCostsNothing(t *testing.T) {
	w, r := newWorld(t)
	for _, e := range []audit.Event{
		{Name: audit.SigninCompleted, Outcome: "ok", Subject: "ayse", Details: map[string]string{"acr": "low"}},
		{Name: audit.SigninFirst, Outcome: "wrong", Subject: "ayse"}, {Name: audit.SigninFirst, Outcome: "locked"}, {Name: audit.TokenIssued, Subject: "ayse"},
	} {
		if err := r.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.events) != 4 || w.reads+len(w.notices)+len(w.sent) > 0 {
		t.Errorf("%d reads, list %+v, sent %+v", w.reads, w.notices, w.sent)
	}
}

func TestOnceAnHour(t *testing.T) {
	w, r := newWorld(t)
	failed := audit.Event{Name: audit.SigninSecond, Outcome: "wrong", Subject: "ayse", Details: map[string]string{"factor": "sms"}}
	for range 50 {
		if err := r.Record(t.Context(), failed); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.events) != 50 || len(w.notices) != 1 || len(w.to("mail")) != 1 || len(w.to("sms")) != 0 {
		t.Errorf("%d events, %d in the list, sent %+v", len(w.events), len(w.notices), w.sent)
	}
	other := failed
	other.Subject = "mehmet"
	w.now = noon.Add(time.Hour)
	for _, e := range []audit.Event{failed, other} {
		if err := r.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.notices) != 3 {
		t.Errorf("%d in the lists", len(w.notices))
	}
}

// Changes are all in the list; what leaves the house is bounded, since somebody with an open session could send hundreds.
func TestManyChanges(t *testing.T) {
	w, r := newWorld(t)
	for range 30 {
		if err := r.Record(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.notices) != 30 || len(w.to("sms")) != mostSent.N || len(w.to("mail")) != mostSent.N {
		t.Errorf("%d in the list, %d texts, %d mails", len(w.notices), len(w.to("sms")), len(w.to("mail")))
	}
}

// The same event twice is one message.
func TestToldOnce(t *testing.T) {
	w, r := newWorld(t)
	e := changed
	e.ID = "one"
	for range 2 {
		if err := r.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sent) != 3 {
		t.Errorf("%+v", w.sent)
	}
}

func TestSomebodyErased(t *testing.T) {
	w, r := newWorld(t)
	r.Accounts, r.Push = nobody{}, nil
	if err := r.Record(t.Context(), changed); err != nil || len(w.sent) > 0 || len(w.events) != 1 {
		t.Errorf("%v: %+v", err, w.sent)
	}
}

type nobody struct{}

func (nobody) Account(context.Context, account.ID) (account.Account, error) {
	return account.Account{}, fault.ErrNotFound
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"Ayşe's phone", "https://evil.example", "a\u202eb\x00\n", "\xff\xfe", strings.Repeat("ş", 500)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := plain(s)
		if strings.ContainsAny(got, "./:@\n\r\x00\u202e") || len([]rune(got)) > 41 {
			t.Errorf("%q became %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}
