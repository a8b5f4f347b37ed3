package storagetest

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
)

func accounts(t *testing.T, b *backend) {
	db := b.db
	r := Person(t, db)
	id := r.Account.ID
	got, err := db.Account(bg, id)
	ok(t, err)
	if got != r.Account {
		t.Errorf("account\n got %+v\nwant %+v", got, r.Account)
	}
	byNumber, err := db.AccountByNationalID(bg, r.Person.NationalID)
	ok(t, err)
	if byNumber != got {
		t.Errorf("by number: %+v", byNumber)
	}
	p, err := db.Person(bg, id)
	ok(t, err)
	if !reflect.DeepEqual(p, r.Person) {
		t.Errorf("person %+v", p)
	}
	c, err := db.Contacts(bg, id)
	ok(t, err)
	if !reflect.DeepEqual(c, r.Contacts) {
		t.Errorf("contacts %+v", c)
	}
	if c, err = db.Contacts(bg, "nobody"); err != nil || !reflect.DeepEqual(c, contact.Contacts{}) {
		t.Errorf("contacts of nobody: %+v %v", c, err)
	}
	_, err = db.Account(bg, "nobody")
	want(t, "unknown account", err, fault.ErrNotFound)
	_, err = db.AccountByNationalID(bg, number())
	want(t, "unknown number", err, fault.ErrNotFound)
	_, err = db.Person(bg, "nobody")
	want(t, "unknown person", err, fault.ErrNotFound)

	got.State, got.TwoFactor, got.TwoFactorSince, got.Locale, got.Ceiling = account.Locked, true, Start.Add(time.Hour), "en", acr.Substantial
	ok(t, db.UpdateAccount(bg, got))
	want(t, "second update of one version", db.UpdateAccount(bg, got), fault.ErrConflict)
	got.Version++
	if after, err := db.Account(bg, id); err != nil || after != got {
		t.Errorf("after update %+v %v", after, err)
	}

	// The same again changes nothing; a difference is named without its value and written.
	r.Account.TwoFactor, r.Account.TwoFactorSince, r.Account.Locale = true, Start.Add(2*time.Hour), "en"
	r.Account.Version = got.Version
	changed, created, err := db.SavePerson(bg, r)
	ok(t, err)
	if created || len(changed) > 0 {
		t.Errorf("the same again: %v %v", changed, created)
	}
	r.Person.GivenName, r.Person.Address.Locality, r.Contacts.Phone.Grade, r.Account.Locale = "Ayşegül", "İzmir", contact.Verified, "tr"
	changed, created, err = db.SavePerson(bg, r)
	ok(t, err)
	if !slices.Equal(changed, []string{"given_name", "address", "phone_grade", "locale"}) || created {
		t.Errorf("changed %v %v", changed, created)
	}
	if p, err := db.Person(bg, id); err != nil || !reflect.DeepEqual(p, r.Person) {
		t.Errorf("person after change %+v %v", p, err)
	}
	if c, err := db.Contacts(bg, id); err != nil || !reflect.DeepEqual(c, r.Contacts) {
		t.Errorf("contacts after change %+v %v", c, err)
	}
	after, err := db.Account(bg, id)
	ok(t, err)
	if after.State != account.Locked || after.Ceiling != acr.Substantial || after.Locale != "tr" || !after.TwoFactorSince.Equal(Start.Add(time.Hour)) {
		t.Errorf("what an apply leaves alone changed: %+v", after)
	}

	other := Record()
	other.Person.NationalID = r.Person.NationalID
	_, _, err = db.SavePerson(bg, other)
	want(t, "second account of one number", err, fault.ErrConflict)
	_, err = db.Account(bg, other.Account.ID)
	want(t, "its account", err, fault.ErrNotFound)

	// Of many that make one person at once, one does.
	one := Record()
	once(t, 8, fault.ErrConflict, func(int) error {
		r := one
		r.Account.ID = account.ID(uuid.NewString())
		_, _, err := db.SavePerson(bg, r)
		return err
	})
}

func renumbered(t *testing.T, b *backend) {
	r := Person(t, b.db)
	old := r.Person.NationalID
	r.Person.NationalID, r.Person.Kind = number(), account.Citizen
	b.clock.Advance(time.Second)
	changed, _, err := b.db.SavePerson(bg, r)
	ok(t, err)
	if !slices.Equal(changed, []string{"national_id"}) {
		t.Errorf("changed %v", changed)
	}
	got, err := b.db.AccountByNationalID(bg, r.Person.NationalID)
	ok(t, err)
	if got.ID != r.Account.ID {
		t.Error("another account")
	}
	_, err = b.db.AccountByNationalID(bg, old)
	want(t, "old number", err, fault.ErrNotFound)
}

func sessions(t *testing.T, b *backend) {
	db := b.db
	r := Person(t, db)
	s := session.Session{
		ID: uuid.NewString(), Account: r.Account.ID, Level: acr.Substantial, CreatedAt: Start, SeenAt: Start, ExpiresAt: Start.Add(session.Life),
		Network: "2001:db8::/64", Agent: "Browser/1.0 (Ğ)",
		Proofs: []factors.Proof{{Factor: "password", Account: r.Account.ID, Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low, AMR: []string{"pwd"}, At: Start}},
	}
	token := secret.Hash("one")
	as := judged(t, db, s.Account)
	ok(t, db.CreateSession(bg, s, token, as))
	s.Version = 1
	got, err := db.SessionByToken(bg, token)
	ok(t, err)
	if !reflect.DeepEqual(got, s) {
		t.Errorf("session\n got %+v\nwant %+v", got, s)
	}
	_, err = db.SessionByToken(bg, secret.Hash("other"))
	want(t, "unknown token", err, fault.ErrNotFound)

	s.SeenAt, s.Level = Start.Add(time.Minute), acr.High
	ok(t, db.RotateSession(bg, s, secret.Hash("two"), as))
	_, err = db.SessionByToken(bg, token)
	want(t, "old token", err, fault.ErrNotFound)
	want(t, "rotation of an old version", db.RotateSession(bg, s, secret.Hash("three"), as), fault.ErrConflict)
	s.Version++
	if got, err = db.SessionByToken(bg, secret.Hash("two")); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("after rotation %+v %v", got, err)
	}

	later := Start.Add(5 * time.Minute)
	ok(t, db.TouchSession(bg, s.ID, later))
	ok(t, db.TouchSession(bg, s.ID, Start))
	if got, _ = db.SessionByToken(bg, secret.Hash("two")); !got.SeenAt.Equal(later) {
		t.Errorf("touched to %v", got.SeenAt)
	}

	two := Session(t, db, r.Account.ID)
	three := Session(t, db, r.Account.ID)
	foreign := Session(t, db, Person(t, db).Account.ID)
	list, err := db.SessionsOf(bg, r.Account.ID, Start.Add(6*time.Minute))
	ok(t, err)
	if len(list) != 3 {
		t.Errorf("%d living sessions", len(list))
	}
	want(t, "end a foreign session", db.EndSession(bg, r.Account.ID, foreign.ID, Start), fault.ErrNotFound)
	want(t, "end an unknown session", db.EndSession(bg, r.Account.ID, "none", Start), fault.ErrNotFound)
	g := Grant(t, db, two)
	ok(t, db.EndSession(bg, r.Account.ID, two.ID, later))
	ok(t, db.EndSession(bg, r.Account.ID, two.ID, later.Add(time.Hour)))
	if got, err = db.SessionByToken(bg, secret.Hash(two.ID)); err != nil || !got.EndedAt.Equal(later) {
		t.Errorf("ended at %v %v", got.EndedAt, err)
	}
	_, err = redeem(db, g, true, Start)
	want(t, "code of an ended session", err, fault.ErrNotFound)
	want(t, "rotation of an ended session", db.RotateSession(bg, two, secret.Hash("x"), as), fault.ErrConflict)
	ok(t, db.TouchSession(bg, two.ID, later.Add(time.Minute)))

	ok(t, db.EndSessions(bg, r.Account.ID, three.ID, later))
	list, err = db.SessionsOf(bg, r.Account.ID, Start.Add(6*time.Minute))
	ok(t, err)
	if len(list) != 1 || list[0].ID != three.ID {
		t.Errorf("left: %+v", list)
	}
	ok(t, db.EndSessions(bg, r.Account.ID, "", later))
	if list, _ = db.SessionsOf(bg, r.Account.ID, Start); len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
	if got, err = db.SessionByToken(bg, secret.Hash(foreign.ID)); err != nil || !got.EndedAt.IsZero() {
		t.Error("another person's session was ended")
	}
	idle := Session(t, db, r.Account.ID)
	if list, _ = db.SessionsOf(bg, r.Account.ID, idle.SeenAt.Add(session.Idle)); len(list) != 0 {
		t.Error("an idle session counts as living")
	}
}

// personTaken: kapi person apply writes over nothing that is changed at the same moment.
func personTaken(t *testing.T, b *backend) {
	db := b.db
	for n := range 15 {
		r := Person(t, db)
		id, blocked := r.Account.ID, Start.Add(time.Duration(n+1)*time.Minute)
		i := enrolment.Importer{Store: db, Audit: db, Actor: "cli"}
		file := enrolment.PersonFile{Person: r.Person, Contacts: contact.Contacts{Email: contact.Email{Address: "new@example.org"}}, Locale: "en"}
		file.Person.GivenName = "Another"
		_, errs := together(3, func(who int) error {
			switch who {
			case 0:
				return db.ChangeContacts(bg, id, func(c *contact.Contacts) error { c.Phone.BlockedAt = blocked; return nil })
			case 1:
				a, err := db.Account(bg, id)
				a.TwoFactor, a.TwoFactorSince = true, blocked
				return errors.Join(err, db.UpdateAccount(bg, a))
			}
			_, err := i.Apply(bg, []enrolment.PersonFile{file}, blocked)
			return err
		})
		for _, err := range errs {
			want(t, "at the same moment", err, fault.ErrConflict)
		}
		c, err := db.Contacts(bg, id)
		ok(t, err)
		a, err := db.Account(bg, id)
		ok(t, err)
		p, err := db.Person(bg, id)
		ok(t, err)
		if !c.Phone.BlockedAt.Equal(blocked) {
			t.Fatalf("round %d: the block is gone: %+v", n, c)
		}
		done := map[bool]int{true: 1}
		if got := done[a.TwoFactor] + done[p.GivenName == "Another"] + len(errs); got != 2 {
			t.Fatalf("round %d: two-factor %v, %q, errors %v", n, a.TwoFactor, p.GivenName, errs)
		}
	}
}

// phoneWithTwoFactor: two-factor authentication and the phone it needs cannot part at one moment.
func phoneWithTwoFactor(t *testing.T, b *backend) {
	r := Person(t, b.db)
	before, err := b.db.PersonRecord(bg, r.Account.ID, false)
	ok(t, err)
	switched := before.Account
	switched.TwoFactor, switched.TwoFactorSince = true, Start
	ok(t, b.db.UpdateAccount(bg, switched))
	for name, change := range map[string]func(*enrolment.Record){
		"the phone": func(r *enrolment.Record) {
			r.Contacts.Phone = contact.Phone{Number: "+905550000002", Grade: contact.Declared}
		},
		"two-factor": func(r *enrolment.Record) {},
		"the locale": func(r *enrolment.Record) {
			r.Account.TwoFactor, r.Account.TwoFactorSince, r.Account.Locale = true, Start, "en"
		},
	} {
		stale := before
		change(&stale)
		_, _, err := b.db.SavePerson(bg, stale)
		want(t, name+" of an account that was changed meanwhile", err, fault.ErrConflict)
	}
	if a, err := b.db.Account(bg, r.Account.ID); err != nil || !a.TwoFactor || a.Locale != r.Account.Locale {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := b.db.PersonRecord(bg, "", true); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}
