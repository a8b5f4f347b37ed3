package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
)

// late is how long a notice may wait for a gateway. It says when the thing happened, so that late is better than never.
const late = 24 * time.Hour

// Channels of the outbox that notices go by.
const (
	mailChannel = "mail"
	smsChannel  = "sms"
	pushChannel = "push"
)

// Path is the page to which the link in an e-mail leads; it works by POST, since programs that look for viruses follow links.
const Path = "/not-me"

// Recorder writes events and tells people of them, in one transaction. All fields are required but Push and Place.
type Recorder struct {
	Next     audit.Recorder
	Store    Store
	Accounts interface {
		Account(ctx context.Context, id account.ID) (account.Account, error)
	}
	Contacts contact.Store
	Throttle throttle.Store
	Words    *words.Catalogue
	// Routed says whether anything can be sent by a channel at all; what has no route is not queued.
	Routed func(channel string) bool
	// Push returns where the apps of a person are reached, as notify.Message.To of the channel "push"; nil = nowhere.
	Push func(ctx context.Context, id account.ID) ([]string, error)
	// Place turns a network into a place as people of lang name it; nil = the network is shown.
	Place  func(network, lang string) string
	Token  func() (token string, hash []byte)
	Issuer string // URL
	Now    func() time.Time
}

var _ audit.Recorder = (*Recorder)(nil)

// Record writes an event. Where people are told of it, what they are told commits with it.
func (r *Recorder) Record(ctx context.Context, e audit.Event) error {
	rule, ok := ruleFor(e)
	if !ok {
		return r.Next.Record(ctx, e)
	}
	if e.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		e.ID = id.String()
	}
	if e.At.IsZero() {
		e.At = r.Now()
	}
	return r.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := r.Next.Record(ctx, e); err != nil {
			return err
		}
		return r.tell(ctx, e, rule)
	})
}

func (r *Recorder) tell(ctx context.Context, e audit.Event, rule rule) error {
	out := r.leaves(rule)
	if rule.Limit != (throttle.Window{}) {
		again, err := r.often(ctx, "notice:"+rule.Key+":"+e.Subject, rule.Limit)
		if err != nil || again {
			return err
		}
	} else if out {
		again, err := r.often(ctx, "notice:sent:"+rule.Key+":"+e.Subject, mostSent)
		if err != nil {
			return err
		}
		out = !again
	}
	n := Notice{ID: e.ID, Account: account.ID(e.Subject), At: e.At, Key: rule.Key, Network: e.Network, Agent: e.Agent, Details: e.Details}
	var link string
	if rule.Do == doNotMe && out && r.goes(rule, byMail) {
		token, hash := r.Token()
		link, n.Token, n.TokenUntil = r.link(token), hash, e.At.Add(TokenLife)
	}
	if err := r.Store.AddNotice(ctx, n); err != nil || !out {
		return err
	}
	return r.send(ctx, n, rule, link)
}

// leaves says whether anything of it can leave the house here.
func (r *Recorder) leaves(rule rule) bool {
	return r.goes(rule, byMail) || r.goes(rule, bySMS) || r.goes(rule, byPush)
}

// goes says whether people are told so, and anything can be sent that way.
func (r *Recorder) goes(rule rule, by ways) bool {
	channel := map[ways]string{byMail: mailChannel, bySMS: smsChannel, byPush: pushChannel}[by]
	return rule.By&by != 0 && (by != byPush || r.Push != nil) && r.Routed(channel)
}

// often counts, and says whether it was too often.
func (r *Recorder) often(ctx context.Context, key string, w throttle.Window) (bool, error) {
	wait, err := r.Throttle.Hit(ctx, key, []throttle.Window{w}, r.Now())
	return wait > 0, err
}

// link is from the configuration, never from a request: whoever forges a Host header must not lead people away.
func (r *Recorder) link(token string) string {
	return r.Issuer + Path + "?" + url.Values{"t": {token}}.Encode()
}

// send puts the messages into the outbox.
func (r *Recorder) send(ctx context.Context, n Notice, rule rule, link string) error {
	post := func(channel, text string, to []string) error {
		for i, address := range to {
			by := channel
			if channel == pushChannel {
				by = notify.PushChannel(address)
			}
			if err := r.Store.Enqueue(ctx, notify.Message{
				Channel: by, Dedupe: "notice:" + n.ID + ":" + channel + ":" + strconv.Itoa(i), Account: n.Account, To: address, Text: text,
				Deadline: r.Now().Add(late), CreatedAt: r.Now(),
			}); err != nil {
				return fmt.Errorf("notice: %w", err)
			}
		}
		return nil
	}
	if err := r.write(ctx, n, rule, link, post); err != nil || !r.goes(rule, byPush) {
		return err
	}
	to, err := r.Push(ctx, n.Account)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]string{"kind": "notice", "id": n.ID})
	if err != nil {
		return err
	}
	return post(pushChannel, string(text), to)
}

// write posts what is written out: mail and text messages, in the person's language.
func (r *Recorder) write(ctx context.Context, n Notice, rule rule, link string, post func(channel, text string, to []string) error) error {
	if !r.goes(rule, byMail) && !r.goes(rule, bySMS) {
		return nil
	}
	a, err := r.Accounts.Account(ctx, n.Account)
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := r.Contacts.Contacts(ctx, n.Account)
	if err != nil {
		return err
	}
	t := told{words: r.Words, lang: a.Locale, n: n, do: rule.Do, place: n.Network}
	if t.lang != "en" {
		t.lang = words.Languages[0]
	}
	if r.Place != nil && n.Network != "" {
		t.place = r.Place(n.Network, t.lang)
	}
	if r.goes(rule, byMail) {
		err = post(mailChannel, t.mail(link), mails(c, r.Now()))
	}
	if err == nil && r.goes(rule, bySMS) {
		err = post(smsChannel, t.sms(), phones(c, r.Now()))
	}
	return err
}

// mails are the addresses that were proven, the one of before included until its hold is over.
func mails(c contact.Contacts, now time.Time) (to []string) {
	if c.Email.Address != "" && c.Email.Verified {
		to = append(to, c.Email.Address)
	}
	if c.OldEmail != "" && c.OldEmail != c.Email.Address && now.Before(c.OldUntil) {
		to = append(to, c.OldEmail)
	}
	return to
}

// phones are the numbers that were proven, likewise. One whose SIM card was changed may be a stranger's by now.
func phones(c contact.Contacts, now time.Time) (to []string) {
	if c.Phone.Number != "" && c.Phone.Grade != contact.Declared && c.Phone.BlockedAt.IsZero() {
		to = append(to, c.Phone.Number)
	}
	if c.OldPhone != "" && c.OldPhone != c.Phone.Number && now.Before(c.OldUntil) {
		to = append(to, c.OldPhone)
	}
	return to
}
