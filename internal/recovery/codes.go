package recovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/mail"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
)

// Lives of the codes (NIST SP 800-63B-4 §4.2 allows 10 minutes by SMS, 24 hours by e-mail). Sending again never lengthens one.
const (
	CodeLife  = 10 * time.Minute
	leastLife = time.Minute // a code that lives shorter is not worth sending

	firstWait = 30 * time.Second // before a second code; doubled by each one sent
	mostWait  = 2 * time.Minute
)

// lines of the codes.
const (
	byPhone = "phone"
	byMail  = "mail"
)

// purpose keeps the codes of the two lines apart.
func purpose(line string) factors.Purpose { return factors.Recovery + factors.Purpose("_"+line) }

func binding(t Transaction) string { return "recovery:" + t.ID }

// pending is a code that is about to be stored and sent.
type pending struct {
	line   string
	code   string
	ticket factors.Ticket
	open   func(context.Context) error
}

// newCode makes the next code of the step. Where nobody is behind the transaction the stored secret is a random one that no code has.
func (f *Flow) newCode(t Transaction, line string) *pending {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // the system has no randomness: nothing may go on
	}
	p := &pending{line: line, code: fmt.Sprintf("%06d", n)}
	p.ticket = factors.Ticket{Binding: binding(t), Purpose: purpose(line), Account: owner(t), CreatedAt: f.now(), ExpiresAt: t.CodeUntil}
	p.ticket.Secret = f.mac(t, line, p.code)
	if t.Account == "" {
		p.ticket.Secret = make([]byte, len(p.ticket.Secret))
		rand.Read(p.ticket.Secret)
	}
	p.open = func(ctx context.Context) (err error) {
		p.ticket, err = f.Tickets.Open(ctx, p.ticket, nil)
		return err
	}
	return p
}

func owner(t Transaction) account.ID {
	if t.Account == "" {
		return nobody
	}
	return t.Account
}

func (f *Flow) mac(t Transaction, line, code string) []byte {
	return f.Reach.MAC("recovery", line, t.ID, string(t.Account), code)
}

// limit counts a send to what was typed for an ID number, apart from the limits of codes at sign-in: a stranger who types somebody's
// number here must not use those up, and with an ID number of his own not even these. What really goes out is limited by the number
// alone (Reach.AllowNumber).
func (f *Flow) limit(ctx context.Context, n account.NationalID, phone, device string) error {
	key := "recovery:number:" + hex.EncodeToString(f.Index("send", string(n)+" "+phone))
	if device != "" {
		key += ":" + device
	}
	wait, err := f.Throttle.Hit(ctx, key, perNumber, f.now())
	if err != nil || wait == 0 {
		return err
	}
	return fault.New(fault.Throttled, "recovery.limit").With("n", int(wait/time.Minute)+1).After(wait)
}

// slots bound what runs at once beside the answers of one process; above it nothing is done, and the person asks again.
var slots = make(chan struct{}, 64)

// later runs what the browser does not wait for. A process that dies in between has not done it: no code comes, and the person asks
// for another.
func (f *Flow) later(v Visit, fn func(context.Context) error) {
	work := func(ctx context.Context) {
		if err := fn(ctx); err != nil {
			f.log().WarnContext(ctx, "a recovery did not go out", "request", v.Request, "err", err)
		}
	}
	if f.Later != nil {
		f.Later(work)
		return
	}
	select {
	case slots <- struct{}{}:
	default:
		f.log().Warn("a recovery did not go out: too many at once", "request", v.Request)
		return
	}
	f.out.Go(func() {
		defer func() { <-slots }()
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		work(ctx)
	})
}

// Wait returns when nothing is on its way out any more: 15 s at most after the last request.
func (f *Flow) Wait() { f.out.Wait() }

// send lets the code go out after the browser has its answer.
func (f *Flow) send(t Transaction, v Visit, p *pending) {
	if t.Account != "" {
		f.later(v, func(ctx context.Context) error { return f.deliver(ctx, t, v, p) })
	}
}

// deliver asks whether the number may be relied on, then puts the message into the outbox.
func (f *Flow) deliver(ctx context.Context, t Transaction, v Visit, p *pending) error {
	if err := f.Reach.Trusted(ctx, t.Account); err != nil {
		var h *factors.Hindrance
		if !errors.As(err, &h) {
			return err
		}
		return f.Audit.Record(ctx, f.event(v, audit.RecoveryTried, h.Reason, t.Account, map[string]string{"step": "send"}))
	}
	if err := f.Reach.AllowNumber(ctx, t.Phone, v.Network); err != nil {
		return err
	}
	return f.Store.Atomically(ctx, func(ctx context.Context) error { return f.enqueue(ctx, t, v, p) })
}

func (f *Flow) enqueue(ctx context.Context, t Transaction, v Visit, p *pending) error {
	m := notify.Message{Channel: "sms", Account: t.Account, To: t.Phone, Ticket: p.ticket.ID, Deadline: p.ticket.ExpiresAt, CreatedAt: f.now()}
	minutes := int((p.ticket.ExpiresAt.Sub(f.now()) + time.Minute - 1) / time.Minute)
	if p.line == byMail {
		m.Channel, m.To = "mail", t.Email
		m.Text = f.Words.Text(v.Lang, "recovery.mail.subject", map[string]any{"code": p.code}) + "\n" + f.Words.Text(v.Lang, "recovery.mail.text", map[string]any{"code": p.code, "n": minutes})
	} else {
		m.Text = f.Words.Text(v.Lang, "recovery.sms", map[string]any{"code": p.code, "n": minutes})
	}
	if err := f.Outbox.Enqueue(ctx, m); err != nil {
		return err
	}
	return f.Audit.Record(ctx, f.event(v, audit.CodeSent, "ok", t.Account, map[string]string{"factor": "recovery", "channel": m.Channel}))
}

// Resend is when a further code of the present step may be asked for; zero where none is worth it any more.
func (t Transaction) Resend() time.Time {
	at := t.SentAt.Add(min(firstWait<<min(max(t.Sends-1, 0), 8), mostWait))
	if at.After(t.CodeUntil.Add(-leastLife)) {
		return time.Time{}
	}
	return at
}

// Again sends a further code of the step that is owed. The tries carry over, the end stays, only the newest is good.
func (f *Flow) Again(ctx context.Context, t Transaction, v Visit) (Transaction, error) {
	began := f.Now()
	step, err := f.Owed(ctx, t)
	if err != nil {
		return t, err
	}
	line := byPhone
	switch step.Do {
	case AskCode:
	case AskMailCode:
		line = byMail
	default:
		return t, ErrNotOwed
	}
	now, at := f.now(), t.Resend()
	switch {
	case at.IsZero():
		return t, fault.New(fault.Expired, "recovery.code.over").In("code")
	case at.After(now):
		return t, fault.New(fault.Throttled, "recovery.wait").With("n", int(at.Sub(now)/time.Second)+1).After(at.Sub(now))
	}
	if err := f.slowed(ctx, v); err != nil {
		return t, err
	}
	_, device, err := f.subject(ctx, t.Number, v)
	if err != nil {
		return t, err
	}
	if err := f.limit(ctx, t.Number, t.Phone, device); err != nil {
		return t, err
	}
	old, err := f.Tickets.Find(ctx, binding(t), purpose(line))
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return t, fault.New(fault.Expired, "recovery.code.over").In("code")
	case err != nil && !errors.Is(err, fault.ErrConflict):
		return t, err
	case old.Tries >= mostTries:
		return t, fault.New(fault.Denied, "recovery.code.spent").In("code")
	}
	t.Sends, t.SentAt = t.Sends+1, now
	p := f.newCode(t, line)
	also := []func(context.Context) error{func(ctx context.Context) error { return f.replace(ctx, t, p, old) }}
	if line == byMail {
		also = append(also, func(ctx context.Context) error { return f.enqueue(ctx, t, v, p) })
	}
	err = f.save(ctx, &t, f.event(v, audit.RecoveryTried, "ok", t.Account, map[string]string{"step": "again"}), also...)
	f.rest(ctx, began)
	if err == nil && line == byPhone {
		f.send(t, v, p)
	}
	return t, err
}

// replace opens p in the place of the code before it, in the transaction of ctx: whoever dies in between leaves the old one good, and of two
// who ask at once one does. The tries are read when nobody can add to them any more. They carry over from a used one too: somebody
// typed the right one and what followed was lost, or it was closed from a session of the owner, and whoever can bring about the second
// must not gain tries by it.
func (f *Flow) replace(ctx context.Context, t Transaction, p *pending, old factors.Ticket) error {
	if old.ID != "" {
		if err := f.Tickets.Use(ctx, old.ID); err != nil {
			return err
		}
	}
	closed, err := f.Tickets.Find(ctx, binding(t), purpose(p.line))
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return fault.New(fault.Expired, "recovery.code.over").In("code")
	case err == nil: // another one was opened meanwhile
		return fault.ErrConflict
	case !errors.Is(err, fault.ErrConflict):
		return err
	case closed.Tries >= mostTries:
		return fault.New(fault.Denied, "recovery.code.spent").In("code")
	}
	p.ticket.Tries = closed.Tries
	return p.open(ctx)
}

// Answer takes the field "code" of the step that is owed. A wrong one is a fault in that field, the same for everybody.
func (f *Flow) Answer(ctx context.Context, t Transaction, v Visit, form Form) (Transaction, error) {
	began := f.Now()
	step, err := f.Owed(ctx, t)
	if err != nil {
		return t, err
	}
	line := byPhone
	switch step.Do {
	case AskCode:
	case AskMailCode:
		line = byMail
	default:
		return t, ErrNotOwed
	}
	code, ok := codeOf(form.Get("code"))
	if !ok {
		return t, fault.New(fault.Invalid, "recovery.code.form").In("code")
	}
	t, err = f.answer(ctx, t, v, line, code)
	f.rest(ctx, began)
	return t, err
}

func (f *Flow) answer(ctx context.Context, t Transaction, v Visit, line, code string) (Transaction, error) {
	_, device, err := f.subject(ctx, t.Number, v)
	if err != nil {
		return t, err
	}
	verdict, err := f.Throttle.Take(ctx, f.key("code", t.Number, device), codes, f.now())
	if err != nil {
		return t, err
	}
	if !verdict.Allowed {
		wait := verdict.Until.Sub(f.now())
		return t, fault.New(fault.Throttled, "recovery.code.locked").With("n", int(wait/time.Minute)+1).After(wait).In("code")
	}
	ticket, right, err := f.Tickets.Answer(ctx, binding(t), purpose(line), owner(t), f.mac(t, line, code), mostTries)
	switch {
	case errors.Is(err, fault.ErrConflict):
		return t, f.used(ctx, t)
	case errors.Is(err, fault.ErrNotFound):
		if open, err := f.Tickets.Find(ctx, binding(t), purpose(line)); err == nil && open.Tries >= mostTries {
			return t, fault.New(fault.Denied, "recovery.code.spent").In("code")
		}
		return t, fault.New(fault.Expired, "recovery.code.over").In("code")
	case err != nil:
		return t, err
	}
	if !right || t.Account == "" {
		if err := f.Audit.Record(ctx, f.event(v, audit.RecoveryTried, "wrong", t.Account, map[string]string{"step": line})); err != nil {
			return t, err
		}
		if left := mostTries - ticket.Tries; left > 0 {
			return t, fault.New(fault.Denied, "recovery.code.wrong").With("n", left).In("code")
		}
		return t, fault.New(fault.Denied, "recovery.code.spent").In("code")
	}
	if err := failpoint.Here("recovery-proven"); err != nil {
		return t, err
	}
	if line == byMail {
		t.MailProven = true
		return t, f.save(ctx, &t, f.event(v, audit.RecoveryTried, "ok", t.Account, map[string]string{"step": line}))
	}
	return f.phoneProven(ctx, t, v)
}

// used says why a code is not taken that was right before: it was sent twice and the other one went on, or what followed was lost.
func (f *Flow) used(ctx context.Context, t Transaction) error {
	now, err := f.Store.Recovery(ctx, t.ID, f.now())
	if err == nil && now.Version == t.Version {
		err = fault.New(fault.Expired, "recovery.code.used").In("code")
	}
	if err != nil {
		return err
	}
	return ErrNotOwed
}

// phoneProven: who has the phone is told from here on. A number whose SIM card was changed since the code was sent proves nothing.
func (f *Flow) phoneProven(ctx context.Context, t Transaction, v Visit) (Transaction, error) {
	if err := f.Reach.Trusted(ctx, t.Account); err != nil {
		var h *factors.Hindrance
		if !errors.As(err, &h) {
			return t, err
		}
		t.State, t.Stopped = Over, StoppedSIM
		return t, f.save(ctx, &t, f.event(v, audit.RecoveryTried, h.Reason, t.Account, map[string]string{"step": byPhone}))
	}
	t.PhoneProven, t.PhoneSent = true, t.SentAt
	var also []func(context.Context) error
	if t.Email != "" {
		t.Sends, t.SentAt, t.CodeUntil = 1, f.now(), t.ExpiresAt
		p := f.newCode(t, byMail)
		also = append(also, p.open, func(ctx context.Context) error { return f.enqueue(ctx, t, v, p) })
	}
	return t, f.save(ctx, &t, f.event(v, audit.RecoveryTried, "ok", t.Account, map[string]string{"step": byPhone}), also...)
}

// clearing are the counts that a finished recovery forgets.
func (f *Flow) clearing(t Transaction, device string) (keys []string) {
	for _, kind := range []string{"details", "contact", "code"} {
		keys = append(keys, f.key(kind, t.Number, ""))
		if device != "" {
			keys = append(keys, f.key(kind, t.Number, device))
		}
	}
	return append(keys, f.Unlocks(t.Number, t.Account)...)
}

// readEmail takes an address or nothing.
func readEmail(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", true
	}
	a, err := mail.ParseAddress(s)
	return s, err == nil && a.Address == s && len(s) <= 254 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
