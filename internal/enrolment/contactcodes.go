package enrolment

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/code"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
)

// What a code is for. One for one thing is no good for another, nor for another number, session or person (row RC3).
const (
	forPhone       factors.Purpose = "phone"
	forEmail       factors.Purpose = "email"
	forLink        factors.Purpose = "email_link"
	forUnblockMail factors.Purpose = "unblock_mail"
	forUnblockSMS  factors.Purpose = "unblock_sms"
)

// LinkPath is where the link of an e-mail leads. What it carries is behind the "?", which no log keeps (row L1).
const LinkPath = "/me/contact/link"

const (
	codeTries = 5
	linkLife  = 24 * time.Hour   // of an e-mail that verifies an address
	mailLife  = 10 * time.Minute // of a code to the recovery address
)

// sendsOfOne bounds what one person can have sent to numbers and addresses that need not be theirs.
var sendsOfOne = []throttle.Window{{N: 6, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}}

// codeLadder is that of codes at sign-in, with a count of its own.
var codeLadder = throttle.Ladder{Free: 10, First: 10 * time.Minute, Most: 10 * time.Minute, Disable: 100}

var errNothing = fault.New(fault.Conflict, "contact.nothing")

// waitingNumber is the number of a person that is to be verified.
func (c *Contacts) waitingNumber(ctx context.Context, id account.ID) (string, error) {
	k, err := c.Store.Contacts(ctx, id)
	if err != nil {
		return "", err
	}
	p := pending(&k)
	if p == nil {
		return "", errNothing
	}
	return p.Number, nil
}

// waitingAddress is the e-mail address that is.
func (c *Contacts) waitingAddress(ctx context.Context, id account.ID) (string, error) {
	k, err := c.Store.Contacts(ctx, id)
	if err != nil {
		return "", err
	}
	e := pendingEmail(&k)
	if e == nil {
		return "", errNothing
	}
	return e.Address, nil
}

// SendPhoneCode sends a code to the number that waits, which need not be the person's at all: hence the limits by number.
func (c *Contacts) SendPhoneCode(ctx context.Context, a Asker) error {
	if err := c.Holds.Held(ctx, a.Account, a.Level); err != nil {
		return err
	}
	number, err := c.waitingNumber(ctx, a.Account)
	if err != nil {
		return err
	}
	return c.sms(ctx, a, forPhone, number, "contact.sms")
}

// VerifyPhone takes the code that came to the number that waits.
func (c *Contacts) VerifyPhone(ctx context.Context, a Asker, typed string) error {
	number, err := c.waitingNumber(ctx, a.Account)
	if err != nil {
		return err
	}
	if _, err := c.judge(ctx, a, forPhone, number, typed); err != nil {
		return err
	}
	return c.phoneVerified(ctx, a, number)
}

// SendEmail sends a code and a link to the address that waits. A newer link ends the older one.
func (c *Contacts) SendEmail(ctx context.Context, a Asker) error {
	if err := c.Holds.Held(ctx, a.Account, a.Level); err != nil {
		return err
	}
	address, err := c.waitingAddress(ctx, a.Account)
	if err != nil {
		return err
	}
	token := secret.Token()
	link := c.Issuer + LinkPath + "?t=" + base64.RawURLEncoding.EncodeToString(c.Box.Seal("contact.link", []byte(string(a.Account)+" "+token)))
	return c.mail(ctx, a, forEmail, address, linkLife, "contact.mail.subject", "contact.mail.text", link, func(ctx context.Context) error {
		now := c.now()
		_, err := c.Tickets.Open(ctx, factors.Ticket{Binding: linkBinding(a.Account), Purpose: forLink, Account: a.Account,
			Secret: c.linkMAC(a.Account, token, address), Data: []byte(address), CreatedAt: now, ExpiresAt: now.Add(linkLife)}, nil)
		return err
	})
}

func linkBinding(id account.ID) string { return "email:" + string(id) }

func (c *Contacts) linkMAC(id account.ID, token, address string) []byte {
	return c.MAC("contact", string(forLink), string(id), token, address)
}

// VerifyEmail takes the code of the e-mail.
func (c *Contacts) VerifyEmail(ctx context.Context, a Asker, typed string) error {
	address, err := c.waitingAddress(ctx, a.Account)
	if err != nil {
		return err
	}
	if _, err := c.judge(ctx, a, forEmail, address, typed); err != nil {
		return err
	}
	return c.emailVerified(ctx, a, address)
}

// errLink is the answer to every link that does not work, whatever the reason.
var errLink = fault.New(fault.Expired, "contact.link")

// LookLink returns the address that a link would verify and changes nothing: mail programs open links by themselves.
func (c *Contacts) LookLink(ctx context.Context, link string) (address string, err error) {
	_, _, t, err := c.link(ctx, link)
	return string(t.Data), err
}

func (c *Contacts) link(ctx context.Context, link string) (id account.ID, token string, t factors.Ticket, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(link)
	if err != nil || len(link) > 512 {
		return "", "", t, errLink
	}
	plain, err := c.Box.Unseal("contact.link", sealed)
	if err != nil {
		return "", "", t, errLink
	}
	owner, token, _ := strings.Cut(string(plain), " ")
	id = account.ID(owner)
	t, err = c.Tickets.Find(ctx, linkBinding(id), forLink)
	switch {
	case errors.Is(err, fault.ErrNotFound), errors.Is(err, fault.ErrConflict):
		return "", "", t, errLink
	case err != nil:
		return "", "", t, err
	}
	k, err := c.Store.Contacts(ctx, id)
	if err != nil {
		return "", "", t, err
	}
	if e := pendingEmail(&k); t.Account != id || e == nil || e.Address != string(t.Data) || !hmac.Equal(t.Secret, c.linkMAC(id, token, e.Address)) {
		return "", "", t, errLink
	}
	return id, token, t, nil
}

// UseLink verifies the address of a link, once. It needs no session: whoever has the link reads the mailbox.
func (c *Contacts) UseLink(ctx context.Context, link string, e audit.Event) error {
	id, token, t, err := c.link(ctx, link)
	if err != nil {
		return err
	}
	address := string(t.Data)
	_, right, err := c.Tickets.Answer(ctx, linkBinding(id), forLink, id, c.linkMAC(id, token, address), codeTries)
	switch {
	case errors.Is(err, fault.ErrNotFound), errors.Is(err, fault.ErrConflict), err == nil && !right:
		return errLink
	case err != nil:
		return err
	}
	return c.emailVerified(ctx, Asker{Account: id, Event: e}, address)
}

// sms sends a code to a number.
func (c *Contacts) sms(ctx context.Context, a Asker, purpose factors.Purpose, number, key string) error {
	if !c.Sender.Up("sms") {
		return fault.New(fault.Unavailable, "code.down")
	}
	if err := c.Sender.AllowNumber(ctx, number, a.Network); err != nil {
		return code.Limited(err)
	}
	return c.send(ctx, a, purpose, number, code.Life, "sms", func(digits string) string {
		return code.Plain(c.Words.Text(lang(a.Lang), key, map[string]any{"code": digits, "n": int(code.Life / time.Minute)}))
	}, nil)
}

// mail sends a code, and perhaps a link, to an address.
func (c *Contacts) mail(ctx context.Context, a Asker, purpose factors.Purpose, address string, life time.Duration, subject, key, link string, also func(context.Context) error) error {
	if !c.Sender.Up("mail") {
		return fault.New(fault.Unavailable, "contact.mail_down")
	}
	if err := c.Sender.AllowAddress(ctx, address, a.Network); err != nil {
		return code.Limited(err)
	}
	return c.send(ctx, a, purpose, address, life, "mail", func(digits string) string {
		args := map[string]any{"code": digits}
		if link != "" {
			args["link"] = link
		}
		return c.Words.Text(lang(a.Lang), subject, map[string]any{"code": digits}) + "\n" + c.Words.Text(lang(a.Lang), key, args)
	}, also)
}

func lang(l string) string {
	if l == "" {
		return words.Languages[0]
	}
	return l
}

func binding(a Asker, purpose factors.Purpose) string { return a.Session + ":" + string(purpose) }

func (c *Contacts) mac(a Asker, purpose factors.Purpose, to, digits string) []byte {
	return c.MAC("contact", string(purpose), binding(a, purpose), string(a.Account), to, digits)
}

// send opens a code with its message. One that is sent again belongs to what began with the first: neither its time nor its tries begin
// anew.
func (c *Contacts) send(ctx context.Context, a Asker, purpose factors.Purpose, to string, life time.Duration, channel string, text func(digits string) string, also func(context.Context) error) error {
	if a.Account == "" || a.Session == "" {
		return fault.New(fault.Internal, "")
	}
	wait, err := c.Throttle.Hit(ctx, "contact:sends:"+string(a.Account), sendsOfOne, c.now())
	if err != nil {
		return err
	}
	if wait > 0 { // each time to another number would be within the limits of all of them
		return code.Limited(fault.New(fault.Throttled, "").After(wait))
	}
	now := c.now()
	digits, err := code.NewCode()
	if err != nil {
		return err
	}
	t := factors.Ticket{Binding: binding(a, purpose), Purpose: purpose, Account: a.Account, Secret: c.mac(a, purpose, to, digits), Data: []byte{}, CreatedAt: now, ExpiresAt: now.Add(life)}
	old, err := c.Tickets.Find(ctx, t.Binding, purpose)
	if err != nil && !errors.Is(err, fault.ErrNotFound) && !errors.Is(err, fault.ErrConflict) {
		return err
	}
	err = c.Store.Atomically(ctx, func(ctx context.Context) error {
		t := t
		switch {
		case old.ID != "":
			// Closed before its count is read: no try is lost that comes while this one is on its way.
			if err := c.Tickets.Use(ctx, old.ID); err != nil {
				return err
			}
			closed, err := c.Tickets.Find(ctx, t.Binding, purpose)
			if err != nil && !errors.Is(err, fault.ErrConflict) {
				return err
			}
			t.Replaces = old.ID
			if closed.Tries < codeTries && old.ExpiresAt.Sub(now) >= time.Minute {
				t.Tries, t.ExpiresAt = closed.Tries, old.ExpiresAt
			}
		case old.Replaces != "": // of one that was used, or closed from elsewhere
			t.Replaces = old.Replaces
			if old.Tries < codeTries {
				t.Tries = old.Tries
			}
		default:
			t.Replaces = factors.Nothing
		}
		t, err := c.Tickets.Open(ctx, t, nil)
		if err != nil {
			return err
		}
		if also != nil {
			if err := also(ctx); err != nil {
				return err
			}
		}
		if err := c.Store.Enqueue(ctx, notify.Message{Channel: channel, Account: a.Account, To: to, Text: text(digits), Ticket: t.ID, Deadline: t.ExpiresAt, CreatedAt: now}); err != nil {
			return err
		}
		e := a.Event
		e.At, e.Name, e.Outcome, e.Actor, e.Subject = now, audit.CodeSent, "ok", string(a.Account), string(a.Account)
		e.Details = map[string]string{"factor": "contact", "channel": channel, "for": string(purpose)}
		return c.Audit.Record(ctx, e)
	})
	switch {
	case errors.Is(err, fault.ErrConflict):
		return nil // asked twice at once: the other one has sent
	case err == nil:
		c.Wake()
	}
	return err
}

// judge counts a try and compares; it returns when the right one was sent.
func (c *Contacts) judge(ctx context.Context, a Asker, purpose factors.Purpose, to, typed string) (sent time.Time, err error) {
	digits, ok := code.Normalise(typed)
	if !ok {
		return sent, fault.New(fault.Invalid, "code.format").In("code")
	}
	key := "contact:code:" + string(a.Account)
	v, err := c.Throttle.Take(ctx, key, codeLadder, c.now())
	if err != nil {
		return sent, err
	}
	if !v.Allowed {
		wait := v.Until.Sub(c.now())
		return sent, fault.New(fault.Throttled, "contact.code_locked").With("n", max(int(wait/time.Minute)+1, 1)).After(wait).In("code")
	}
	t, right, err := c.Tickets.Answer(ctx, binding(a, purpose), purpose, a.Account, c.mac(a, purpose, to, digits), codeTries)
	switch {
	case errors.Is(err, fault.ErrNotFound), errors.Is(err, fault.ErrConflict): // nothing was compared
		return sent, errors.Join(fault.New(fault.Expired, "code.expired").In("code"), c.Throttle.GiveBack(context.WithoutCancel(ctx), key))
	case err != nil:
		return sent, err
	case right:
		return t.CreatedAt, c.Throttle.Clear(ctx, key)
	case t.Tries >= codeTries:
		return sent, fault.Wrap(fault.Denied, "code.spent", factors.ErrWrong).In("code")
	}
	return sent, fault.Wrap(fault.Denied, "code.wrong", factors.ErrWrong).With("n", codeTries-t.Tries).In("code")
}

// Unblocking. A password and a code to the number itself are never enough: whoever stole the number has both.

// Blocked says how the number of a person can be unblocked by themselves.
type Blocked struct {
	Since  time.Time
	Ending string
	Mail   string // the recovery address, masked; "" = there is none that was verified before
	Strong bool   // this session may confirm the new SIM card
}

// Blocked returns nil where the number is not blocked.
func (c *Contacts) Blocked(ctx context.Context, a Asker) (*Blocked, error) {
	k, err := c.Store.Contacts(ctx, a.Account)
	if err != nil || k.Phone.BlockedAt.IsZero() {
		return nil, err
	}
	b := &Blocked{Since: k.Phone.BlockedAt, Ending: k.Phone.Ending(), Strong: a.strong()}
	if trusted(k) {
		b.Mail = Masked(k.Email.Address)
	}
	return b, nil
}

// trusted: whoever changed the SIM card must not have verified an address afterwards.
func trusted(k contact.Contacts) bool {
	return k.Email.Verified && k.Email.VerifiedAt.Before(k.Phone.BlockedAt)
}

// Masked shows enough of an address to know it.
func Masked(address string) string {
	name, domain, ok := strings.Cut(address, "@")
	if !ok || name == "" {
		return ""
	}
	return name[:1] + "•••@" + domain
}

// SendUnblock sends a code for unblocking: to the recovery address, or with byPhone, after a strong sign-in, to the number itself, which
// proves the new SIM card and is exempt from the block.
func (c *Contacts) SendUnblock(ctx context.Context, a Asker, byPhone bool) error {
	k, err := c.blocked(ctx, a, byPhone)
	if err != nil {
		return err
	}
	if byPhone {
		return c.sms(ctx, a, forUnblockSMS, k.Phone.Number, "contact.sms_unblock")
	}
	return c.mail(ctx, a, forUnblockMail, k.Email.Address, mailLife, "contact.mail_unblock.subject", "contact.mail_unblock.text", "", nil)
}

// Unblock takes the code.
func (c *Contacts) Unblock(ctx context.Context, a Asker, byPhone bool, typed string) error {
	k, err := c.blocked(ctx, a, byPhone)
	if err != nil {
		return err
	}
	how, purpose, to := simblock.ByMail, forUnblockMail, k.Email.Address
	if byPhone {
		how, purpose, to = simblock.ByStrong, forUnblockSMS, k.Phone.Number
	}
	sent, err := c.judge(ctx, a, purpose, to, typed)
	if err != nil {
		return err
	}
	e := a.Event
	e.Actor = string(a.Account)
	err = c.SIM.UnblockSeen(ctx, a.Account, how, sent, e, nil)
	if errors.Is(err, simblock.ErrNotBlocked) {
		if k, err := c.Store.Contacts(ctx, a.Account); err != nil || !k.Phone.BlockedAt.IsZero() {
			// The SIM card was changed again after the code was sent.
			return errors.Join(err, fault.New(fault.Expired, "code.expired").In("code"))
		}
	}
	if err == nil {
		c.Wake()
	}
	return err
}

func (c *Contacts) blocked(ctx context.Context, a Asker, byPhone bool) (contact.Contacts, error) {
	k, err := c.Store.Contacts(ctx, a.Account)
	switch {
	case err != nil:
		return k, err
	case k.Phone.BlockedAt.IsZero():
		return k, simblock.ErrNotBlocked
	case byPhone && !a.strong():
		return k, fault.New(fault.Denied, "contact.strong_needed")
	case !byPhone && !trusted(k):
		return k, fault.New(fault.Denied, "contact.mail_too_new")
	}
	return k, nil
}

// Vouch is what a clerk does who saw the person and the ID card: the number is the person's (R143, R192). reason is the number of the
// evidence.
func (c *Contacts) Vouch(ctx context.Context, n account.NationalID, typed, reason string, e audit.Event) error {
	number, err := contact.ParseNumber(typed)
	if err != nil {
		return fault.Wrap(fault.Invalid, "contact.number", err).In("phone")
	}
	a, err := c.Store.AccountByNationalID(ctx, n)
	if err != nil {
		return err
	}
	now := c.now()
	err = c.Store.Atomically(ctx, func(ctx context.Context) error {
		unblocked := false
		err := c.Store.ChangeContacts(ctx, a.ID, func(k *contact.Contacts) error {
			unblocked = k.Phone.Number == number && !k.Phone.BlockedAt.IsZero()
			p := contact.Phone{Number: number, Grade: contact.IDVerified, How: contact.ByOffice, VerifiedAt: now}
			switch number {
			case k.Phone.Number:
				p.Operator, p.Lines = k.Phone.Operator, k.Phone.Lines
			case k.NewPhone.Number:
				p.Operator, p.Lines = k.NewPhone.Operator, k.NewPhone.Lines
			}
			if proven(k.Phone) && k.Phone.Number != number {
				retire(k, k.Phone, contact.Email{}, now)
			}
			k.Phone, k.NewPhone = p, contact.Phone{}
			return nil
		})
		if err != nil {
			return err
		}
		if err := errors.Join(contact.Void(ctx, c.Store, a.ID, now), c.Throttle.Clear(ctx, c.Guesses(a.ID))); err != nil {
			return err
		}
		e.At, e.Name, e.Outcome, e.Subject = now, audit.PhoneIDVerified, "ok", string(a.ID)
		e.Details = map[string]string{"how": contact.ByOffice, "reason": reason, "ending": contact.Phone{Number: number}.Ending()}
		if err := c.Audit.Record(ctx, e); err != nil || !unblocked {
			return err
		}
		e.Name, e.Details = audit.SIMUnblocked, map[string]string{"how": simblock.ByOffice, "reason": reason}
		return c.Audit.Record(ctx, e)
	})
	if err == nil {
		c.Wake()
	}
	return err
}
