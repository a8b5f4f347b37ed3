package enrolment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

// ayse is the example that the outside contract prints.
const ayse = `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe","family_name":"Yılmaz","birthdate":"1985-04-23","gender":"female",
  "locale":"tr","address":{"street_address":"Atatürk Bulvarı 1","locality":"Ankara","postal_code":"06000","country":"TR"},
  "email":"ayse@example.org","email_verified":true,"phone":"+905550000001","phone_grade":"id_verified",
  "password":"correct horse","password_temporary":false,"two_factor":true}]`

func parsePeople(t testing.TB, file string) []PersonFile {
	t.Helper()
	people, err := ParsePeople(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return people
}

func TestParsePeople_Contract(t *testing.T) {
	got := parsePeople(t, ayse)[0]
	want := PersonFile{
		Person: account.Person{
			NationalID: "10000000146", Kind: account.Citizen, GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23", Gender: "female",
			Address: account.Address{StreetAddress: "Atatürk Bulvarı 1", Locality: "Ankara", PostalCode: "06000", Country: "TR"},
		},
		Contacts: contact.Contacts{
			Phone: contact.Phone{Number: "+905550000001", Grade: contact.IDVerified},
			Email: contact.Email{Address: "ayse@example.org", Verified: true},
		},
		Locale: "tr", Password: "correct horse", TwoFactor: new(true), Line: 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	least := parsePeople(t, `[{"national_id":"99000000110","kind":"foreigner","given_name":"Ays\u0327e"}]`)[0]
	if least.Person.GivenName != "Ayşe" || least.TwoFactor != nil || !reflect.DeepEqual(least.Contacts, contact.Contacts{}) {
		t.Errorf("%+v", least)
	}
}

func TestParsePeople_Refuses(t *testing.T) {
	for _, tc := range []struct{ name, members, want string }{
		{"unknown member", `"phon":"+905550000001"`, `phon: unknown member; did you mean "phone"?`},
		{"unknown member of the address", `"address":{"city":"Ankara"}`, "address.city: unknown member"},
		{"national id as a number", `"national_id":10000000146`, "national_id: stands twice"},
		{"kind", `"gender":"female","locale":"de"`, "locale: must be one of: tr, en"},
		{"gender", `"gender":"F"`, "gender: must be one of: female, male, other"},
		{"birthdate", `"birthdate":"1985-02-30"`, "birthdate: must be a real date"},
		{"birthdate in another form", `"birthdate":"23.04.1985"`, "birthdate: must be a real date"},
		{"birthdate long ago", `"birthdate":"0001-01-01"`, "birthdate: must be a real date"},
		{"direction mark in a name", `"family_name":"a\u202eb"`, "family_name: holds a character"},
		{"long name", `"family_name":"` + strings.Repeat("ş", 101) + `"`, "family_name: is longer than 100"},
		{"space behind a name", `"family_name":"Yılmaz "`, "family_name: begins or ends with a space"},
		{"country", `"address":{"country":"Türkiye"}`, "address.country: must be the two letters"},
		{"email", `"email":"Ayşe <ayse@example.org>"`, "email: is no e-mail address"},
		{"verified without email", `"email_verified":true`, "email_verified: says something"},
		{"phone", `"phone":"+900000000000"`, "phone: is no phone number"},
		{"fixed line", `"phone":"+903121234567"`, "phone: is no mobile number"},
		{"phone as dialled", `"phone":"0555 000 00 01"`, `phone: must be written with its country and without spaces: "+905550000001"`},
		{"grade", `"phone":"+905550000001","phone_grade":"proven"`, "phone_grade: must be one of: declared, verified, id_verified"},
		{"grade without phone", `"phone_grade":"verified"`, "phone_grade: says something"},
		{"two-factor without phone", `"two_factor":true`, "two_factor: needs a phone with phone_grade id_verified"},
		{"two-factor with a verified phone", `"two_factor":true,"phone":"+905550000001","phone_grade":"verified"`, "two_factor: needs"},
		{"temporary without password", `"password_temporary":true`, "password_temporary: says something"},
		{"long password", `"password":"` + strings.Repeat("x", 1025) + `"`, "password: is longer"},
		{"null", `"two_factor":null,"email":null`, "email: must not be null"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParsePeople(strings.NewReader("[{\"national_id\":\"10000000146\",\"kind\":\"citizen\",\"given_name\":\"A\",\n" + tc.members + "}]"))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "line 2") {
				t.Errorf("%v\nwant %q at line 2", err, tc.want)
			}
			if strings.Contains(err.Error(), "10000000146") {
				t.Error("the number stands in the error")
			}
		})
	}
	for _, tc := range []struct{ name, file, want string }{
		{"no list", `{}`, "the file must be a list"},
		{"no number", `[{"kind":"citizen","given_name":"A"}]`, "national_id: is missing"},
		{"checksum", `[{"national_id":"10000000147","kind":"citizen","given_name":"A"}]`, "line 1, person …0147, national_id: must be 11 digits with a right checksum"},
		{"number with spaces", `[{"national_id":"100 000 001 46","kind":"citizen","given_name":"A"}]`, "national_id: must be 11 digits"},
		{"number as a number", `[{"national_id":10000000146,"kind":"citizen","given_name":"A"}]`, "national_id: must be a string"},
		{"no kind", `[{"national_id":"10000000146","given_name":"A"}]`, "kind: must be one of: citizen, blue_card, foreigner"},
		{"no name", `[{"national_id":"10000000146","kind":"citizen"}]`, "given_name: is missing"},
		{"twice", "[{\"national_id\":\"10000000146\",\"kind\":\"citizen\",\"given_name\":\"A\"},\n{\"national_id\":\"10000000146\",\"kind\":\"citizen\",\"given_name\":\"A\"}]", "line 2, person …0146, national_id: the person of line 1 has the same"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParsePeople(strings.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

// registry is a Store, a Recorder and the passwords, in memory, with a transaction that rolls back.
type registry struct {
	people    map[account.ID]Record
	passwords map[account.ID]string
	events    []audit.Event
	inside    bool
	retries   int
	fail      error
	voided    []string
	meanwhile func() // before the person is taken
}

func (r *registry) VoidProofs(_ context.Context, id account.ID, _ time.Time) error {
	r.voided = append(r.voided, "proofs of "+string(id))
	return nil
}

func (r *registry) VoidTickets(_ context.Context, id account.ID, _ time.Time) error {
	r.voided = append(r.voided, "tickets of "+string(id))
	return nil
}

func (r *registry) AccountByNationalID(_ context.Context, n account.NationalID) (account.Account, error) {
	for _, p := range r.people {
		if p.Person.NationalID == n {
			return p.Account, nil
		}
	}
	return account.Account{}, fault.ErrNotFound
}

func (r *registry) PersonRecord(_ context.Context, id account.ID, take bool) (Record, error) {
	if take && r.meanwhile != nil {
		r.meanwhile()
	}
	return r.people[id], nil
}

func (r *registry) SavePerson(_ context.Context, next Record) (changed []string, created bool, err error) {
	old, ok := r.people[next.Account.ID]
	for name, differs := range map[string]bool{
		"given_name": old.Person.GivenName != next.Person.GivenName, "address": old.Person.Address != next.Person.Address,
		"phone": old.Contacts.Phone.Number != next.Contacts.Phone.Number, "phone_grade": old.Contacts.Phone.Grade != next.Contacts.Phone.Grade,
		"email": old.Contacts.Email != next.Contacts.Email, "two_factor": old.Account.TwoFactor != next.Account.TwoFactor,
	} {
		if differs {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		r.people[next.Account.ID] = next
	}
	return changed, !ok, nil
}

func (r *registry) Record(_ context.Context, e audit.Event) error {
	if e.Name.Version() == 0 {
		return fmt.Errorf("unregistered event %q", e.Name)
	}
	r.events = append(r.events, e)
	return r.fail
}

func (r *registry) Atomically(ctx context.Context, fn func(context.Context) error) error {
	people, passwords, events := maps.Clone(r.people), maps.Clone(r.passwords), slices.Clone(r.events)
	for ; ; r.retries-- {
		r.inside = true
		err := fn(ctx)
		r.inside = false
		if err == nil && r.retries <= 0 {
			return nil
		}
		r.people, r.passwords, r.events = maps.Clone(people), maps.Clone(passwords), slices.Clone(events)
		if err != nil {
			return err
		}
	}
}

func newImporter(t *testing.T) (*registry, Importer) {
	r := &registry{people: map[account.ID]Record{}, passwords: map[account.ID]string{}}
	hash := func(_ context.Context, id account.ID, password string, temporary bool) (func(context.Context) error, error) {
		if r.inside {
			t.Error("a password is hashed inside a transaction")
		}
		return func(context.Context) error {
			if _, ok := r.people[id]; !ok || !r.inside {
				t.Error("a password is written before its account, or outside the transaction")
			}
			r.passwords[id] = fmt.Sprintf("%s %t", password, temporary)
			return nil
		}, nil
	}
	return r, Importer{Store: r, Audit: r, Password: hash, Actor: "cli"}
}

var registered = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func applyPeople(t *testing.T, i Importer, file string) (Report, string) {
	t.Helper()
	report, err := i.Apply(t.Context(), parsePeople(t, file), registered)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	report.WriteTo(&b)
	return report, b.String()
}

func TestImporter(t *testing.T) {
	r, i := newImporter(t)
	r.retries = 1
	report, text := applyPeople(t, i, ayse)
	id := report.Changes[0].ID
	got := r.people[id]
	at := registered.Truncate(time.Microsecond)
	if text != "person …0146: created\n" || len(report.Changes) != 1 || len(id) != 36 {
		t.Errorf("%q, %+v", text, report)
	}
	want := account.Account{ID: id, State: account.Active, Ceiling: acr.High, TwoFactor: true, TwoFactorSince: at, Locale: "tr", CreatedAt: at}
	if got.Account != want || got.Contacts.Phone.VerifiedAt != at || r.passwords[id] != "correct horse false" {
		t.Errorf("%+v, password %q", got, r.passwords[id])
	}
	var names []audit.Name
	for _, e := range r.events {
		names = append(names, e.Name)
		if e.Subject != string(id) || e.Actor != "cli" || strings.Contains(fmt.Sprint(e.Details), "Yılmaz") {
			t.Errorf("event %+v", e)
		}
	}
	if !slices.Equal(names, []audit.Name{audit.PersonApplied, audit.TwoFactorOn}) {
		t.Errorf("events %v", names)
	}

	// The second time nothing changes, not even by another password.
	r.passwords[id] = "changed by the person"
	again := strings.Replace(ayse, "correct horse", "another", 1)
	if _, text := applyPeople(t, i, again); text != "person …0146: unchanged\n" || len(r.events) != 2 || r.passwords[id] != "changed by the person" {
		t.Errorf("again: %q, %d events, password %q", text, len(r.events), r.passwords[id])
	}

	// What the file leaves out of the contacts stays, what the registry says is replaced.
	_, text = applyPeople(t, i, `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe Nur","family_name":"Yılmaz"}]`)
	if text != "person …0146: changed: address, given_name\n" {
		t.Errorf("printed %q", text)
	}
	now := r.people[id]
	if !reflect.DeepEqual(now.Contacts, got.Contacts) || !now.Account.TwoFactor || now.Account.Locale != "tr" || now.Person.Address != (account.Address{}) {
		t.Errorf("%+v", now)
	}
	_, text = applyPeople(t, i, `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe Nur","two_factor":false,"phone":"+905550000002"}]`)
	now = r.people[id]
	if text != "person …0146: changed: phone, phone_grade, two_factor\n" || now.Account.TwoFactor || !now.Account.TwoFactorSince.IsZero() || !now.Contacts.Phone.VerifiedAt.IsZero() {
		t.Errorf("%q, %+v", text, now)
	}
	if e := r.events[len(r.events)-1]; e.Name != audit.TwoFactorOff {
		t.Errorf("event %+v", e)
	}
}

func TestImporter_AllOrNothing(t *testing.T) {
	r, i := newImporter(t)
	applyPeople(t, i, ayse)
	for name, tc := range map[string]struct {
		file, want string
	}{
		"two-factor would lose its phone": {`[{"national_id":"99000000110","kind":"foreigner","given_name":"New"},
			{"national_id":"10000000146","kind":"citizen","given_name":"A","phone":"+905550000001","phone_grade":"verified"}]`, "line 2, person …0146: two-factor authentication is on"},
		"born tomorrow": {`[{"national_id":"99000000110","kind":"foreigner","given_name":"New","birthdate":"2026-03-02"}]`, "birthdate lies in the future"},
	} {
		if _, err := i.Apply(t.Context(), parsePeople(t, tc.file), registered); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.fail = errors.New("audit is down")
	if _, err := i.Apply(t.Context(), parsePeople(t, `[{"national_id":"99000000110","kind":"foreigner","given_name":"New","password":"x"}]`), registered); err == nil {
		t.Error("applied without a record")
	}
	if len(r.people) != 1 || len(r.passwords) != 1 {
		t.Errorf("%d people, %d passwords; want the one of before", len(r.people), len(r.passwords))
	}
	if _, err := i.Apply(t.Context(), []PersonFile{{}}, registered); err == nil {
		t.Error("a person without ID number was applied")
	}
}

// What somebody else changes between the look and the taking is merged with the file, not overwritten by what was read before.
func TestImporter_Meanwhile(t *testing.T) {
	r, i := newImporter(t)
	report, _ := applyPeople(t, i, ayse)
	id := report.Changes[0].ID
	blocked := registered.Add(time.Hour)
	r.meanwhile = func() {
		p := r.people[id]
		p.Contacts.Phone.BlockedAt, p.Account.Version = blocked, 7
		r.people[id] = p
	}
	applyPeople(t, i, `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe Nur","phone":"+905550000001","phone_grade":"id_verified"}]`)
	if p := r.people[id]; !p.Contacts.Phone.BlockedAt.Equal(blocked) || p.Account.Version != 7 || p.Person.GivenName != "Ayşe Nur" {
		t.Errorf("%+v", p)
	}
	// Who is not changed by the file is not taken.
	r.meanwhile = func() { t.Error("taken") }
	if _, text := applyPeople(t, i, `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe Nur"}]`); !strings.Contains(text, "unchanged") {
		t.Error(text)
	}
}

// Somebody else creates the person between the look and the transaction: nothing is written, least of all a password.
func TestImporter_Race(t *testing.T) {
	r, i := newImporter(t)
	hash := i.Password
	i.Password = func(ctx context.Context, id account.ID, password string, temporary bool) (func(context.Context) error, error) {
		r.people["other"] = Record{Account: account.Account{ID: "other"}, Person: account.Person{NationalID: "10000000146"}}
		return hash(ctx, id, password, temporary)
	}
	if _, err := i.Apply(t.Context(), parsePeople(t, ayse), registered); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("%v; want a conflict", err)
	}
	if len(r.people) != 1 || len(r.passwords) != 0 {
		t.Error("something was written")
	}
}

func FuzzParsePeople(f *testing.F) {
	f.Add(ayse)
	f.Add(`[{"national_id":"99000000110","kind":"foreigner","given_name":"A","phone":"+491701234567","phone_grade":"verified"}]`)
	f.Fuzz(func(t *testing.T, file string) {
		people, err := ParsePeople(strings.NewReader(file))
		if err != nil && people != nil {
			t.Error("an error and people")
		}
		for _, p := range people {
			if n, err := account.ParseNationalID(string(p.Person.NationalID)); err != nil || n != p.Person.NationalID {
				t.Errorf("ID number %q", p.Person.NationalID)
			}
			if p.TwoFactor != nil && *p.TwoFactor && p.Contacts.Phone.Grade != contact.IDVerified {
				t.Error("two-factor without an ID-verified phone")
			}
			if p.Person.Name() == "" {
				t.Error("a person without a name")
			}
		}
	})
}

func TestPhoneLines(t *testing.T) {
	const person = `[{"national_id":"10000000146","kind":"citizen","given_name":"A","family_name":"B"%s}]`
	p, err := ParsePeople(strings.NewReader(fmt.Sprintf(person, `,"phone":"+905550000001","phone_grade":"id_verified","phone_operator":"turkcell","phone_lines":["messenger","sim"]`)))
	if err != nil || p[0].Contacts.Phone.Operator != "turkcell" || !slices.Equal(p[0].Contacts.Phone.Lines, []string{"messenger", "sim"}) {
		t.Fatalf("%+v %v", p, err)
	}
	for member, want := range map[string]string{
		`,"phone_operator":"turkcell"`:                              "there is none",
		`,"phone":"+905550000001","phone_lines":["sms"]`:            "messenger, sim",
		`,"phone":"+905550000001","phone_lines":["sim","sim"]`:      "stands twice",
		`,"phone":"+905550000001","phone_operator":"Turk Cell <b>"`: "lower-case",
		`,"phone":"+905550000001","phone_operator":["turkcell"]`:    "phone_operator",
		`,"phone":"+905550000001","phone_lines":"sim"`:              "phone_lines",
	} {
		if _, err := ParsePeople(strings.NewReader(fmt.Sprintf(person, member))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", member, err)
		}
	}
	// The same number keeps its history; another one begins anew.
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	held := contact.Phone{Number: "+905550000001", Grade: contact.IDVerified, VerifiedAt: now.Add(-time.Hour), How: contact.ByOffice, BlockedAt: now}
	same := mergePhone(contact.Phone{Number: held.Number, Grade: held.Grade, Lines: []string{"sim"}}, held, now)
	if same.How != contact.ByOffice || same.BlockedAt.IsZero() || len(same.Lines) != 1 {
		t.Errorf("%+v", same)
	}
	other := mergePhone(contact.Phone{Number: "+905550000002", Grade: contact.IDVerified}, held, now)
	if other.How != contact.ByFile || !other.BlockedAt.IsZero() || !other.VerifiedAt.Equal(now) {
		t.Errorf("%+v", other)
	}
}
