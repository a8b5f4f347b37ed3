package recovery

import (
	"context"
	"maps"
	"slices"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

// Form is a submitted form, each field once.
type Form interface{ Get(field string) string }

// Identify takes the fields "kind" and "national_id". What is no number is said; who has it is not.
func (f *Flow) Identify(ctx context.Context, t Transaction, v Visit, form Form) (Transaction, error) {
	began := f.Now()
	if err := f.owing(ctx, t, AskIdentity); err != nil {
		return t, err
	}
	kind := account.Kind(form.Get("kind"))
	if kind != account.Citizen && kind != account.BlueCard {
		return t, fault.New(fault.Invalid, "recovery.kind.missing").In("kind")
	}
	n, err := account.ParseNationalID(form.Get("national_id"))
	if err != nil {
		return t, err
	}
	if err := f.slowed(ctx, v); err != nil {
		return t, err
	}
	s, err := f.Store.RecoverySubject(ctx, n, f.now())
	if err != nil {
		return t, err
	}
	t.Kind, t.Number = kind, n
	t.count("identity")
	err = f.save(ctx, &t, f.event(v, audit.RecoveryTried, "ok", s.Account.ID, map[string]string{"step": "identity"}))
	f.rest(ctx, began)
	if id := s.Account.ID; err == nil && id != "" {
		f.later(v, func(ctx context.Context) error {
			return f.Store.Atomically(ctx, func(ctx context.Context) error {
				return f.Told.Record(ctx, f.event(v, audit.RecoveryStarted, "ok", id, map[string]string{"reason": string(t.Reason)}))
			})
		})
	}
	return t, err
}

// count one taking of a step. The map is made anew, since t is a copy that shares it.
func (t *Transaction) count(step string) {
	t.Tries = maps.Clone(t.Tries)
	if t.Tries == nil {
		t.Tries = map[string]int{}
	}
	t.Tries[step]++
}

// Detail takes the fields "birthdate", "family_name", "document" and "serial". Whether they are right is kept and not told: it goes on
// in any case. Above the limits nothing is compared, and it goes on too.
func (f *Flow) Detail(ctx context.Context, t Transaction, v Visit, form Form) (Transaction, error) {
	began := f.Now()
	if err := f.owing(ctx, t, AskDetails); err != nil {
		return t, err
	}
	d, err := readDetails(form)
	if err != nil {
		return t, err
	}
	if err := f.slowed(ctx, v); err != nil {
		return t, err
	}
	s, device, err := f.subject(ctx, t.Number, v)
	if err != nil {
		return t, err
	}
	allowed, err := f.guess(ctx, "details", t.Number, device)
	if err != nil {
		return t, err
	}
	t.count("details")
	t.Detailed = true
	t.Right = allowed && may(s, t.Kind, f.now()) && right(s, d)
	err = f.save(ctx, &t, f.event(v, audit.RecoveryTried, outcome(allowed, t.Right), s.Account.ID, map[string]string{"step": "details"}))
	f.rest(ctx, began)
	return t, err
}

// guess counts a try before anything is compared.
func (f *Flow) guess(ctx context.Context, kind string, n account.NationalID, device string) (allowed bool, err error) {
	verdict, err := f.Throttle.Take(ctx, f.key(kind, n, device), guesses, f.now())
	return verdict.Allowed, err
}

func outcome(allowed, ok bool) string {
	switch {
	case !allowed:
		return "locked"
	case ok:
		return "ok"
	}
	return "wrong"
}

// readDetails says what cannot be an answer at all, whoever the person is.
func readDetails(form Form) (Details, error) {
	d := Details{Family: form.Get("family_name"), Document: account.DocumentType(form.Get("document")), Serial: form.Get("serial")}
	born, ok := Birthdate(form.Get("birthdate"))
	switch {
	case !ok:
		return d, fault.New(fault.Invalid, "recovery.birthdate.form").In("birthdate")
	case fold(d.Family) == "" || len(d.Family) > 400:
		return d, fault.New(fault.Invalid, "recovery.family.missing").In("family_name")
	case d.Document == "none":
		d.Document, d.Serial = "", ""
	case !slices.Contains(account.DocumentTypes, d.Document):
		return d, fault.New(fault.Invalid, "recovery.document.missing").In("document")
	case len(d.Serial) > 200 || len(Serial(d.Serial)) < 4 || len(Serial(d.Serial)) > 20:
		return d, fault.New(fault.Invalid, "recovery.serial.form").In("serial")
	}
	d.Born = born
	return d, nil
}

// Contact takes the fields "phone" and "email" (which may be empty) and sends a code, if it is all right so far; the answer is the
// same if not. The limits are those of what was typed, for that ID number.
func (f *Flow) Contact(ctx context.Context, t Transaction, v Visit, form Form) (Transaction, error) {
	began := f.Now()
	if err := f.owing(ctx, t, AskContact); err != nil {
		return t, err
	}
	phone, email, err := readContact(form)
	if err != nil {
		return t, err
	}
	if err := f.slowed(ctx, v); err != nil {
		return t, err
	}
	s, device, err := f.subject(ctx, t.Number, v)
	if err != nil {
		return t, err
	}
	if err := f.limit(ctx, t.Number, phone, device); err != nil {
		return t, err
	}
	allowed, err := f.guess(ctx, "contact", t.Number, device)
	if err != nil {
		return t, err
	}
	now := f.now()
	ok := allowed && t.Right && may(s, t.Kind, now) && reachable(s.Contacts, phone, email)
	t.count("contact")
	t.Phone, t.Email, t.Account = phone, email, ""
	if ok {
		t.Account = s.Account.ID
	}
	t.Sends, t.SentAt, t.CodeUntil = 1, now, now.Add(CodeLife)
	if t.CodeUntil.After(t.ExpiresAt) {
		t.CodeUntil = t.ExpiresAt
	}
	p := f.newCode(t, "phone")
	err = f.save(ctx, &t, f.event(v, audit.RecoveryTried, outcome(allowed, ok), s.Account.ID, map[string]string{"step": "contact"}), p.open)
	f.rest(ctx, began)
	if err == nil {
		f.send(t, v, p)
	}
	return t, err
}

func readContact(form Form) (phone, email string, err error) {
	if phone, err = contact.ParseNumber(form.Get("phone")); err != nil {
		return "", "", fault.New(fault.Invalid, "recovery.phone.form").In("phone") // the error would quote nothing, but says it in English
	}
	email, ok := readEmail(form.Get("email"))
	if !ok {
		return "", "", fault.New(fault.Invalid, "recovery.email.form").In("email")
	}
	return phone, email, nil
}

// Change goes back to the ID number, so that a slip can be mended: nobody is told which of the details was wrong. What was taken so
// far is forgotten; the tries stay.
func (f *Flow) Change(ctx context.Context, t Transaction, v Visit) (Transaction, error) {
	step, err := f.Owed(ctx, t)
	if err != nil {
		return t, err
	}
	if step.Do != AskDetails && step.Do != AskContact && step.Do != AskCode {
		return t, ErrNotOwed
	}
	t.Progress = Progress{From: t.From, Reason: t.Reason, Tries: t.Tries, Lang: t.Lang}
	version, err := f.Store.SaveRecovery(ctx, t)
	if err == nil {
		t.Version = version
	}
	return t, err
}
