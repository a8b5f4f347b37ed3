package recovery_test

import (
	"github.com/kapi-id/kapi/internal/recovery"

	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// F2: whoever the person is, and whatever of the details is wrong, each step answers the same after the same work.
func TestF2_EqualWork(t *testing.T) {
	for _, open := range []func(testing.TB, *storagetest.Clock) *storage.DB{sqlite, func(t testing.TB, c *storagetest.Clock) *storage.DB { return storagetest.Open(t, testpg.URL(t), c) }} {
		w := newWorld(t, open)
		w.flow.Later = func(func(context.Context)) {} // no answer waits for it
		none := account.NationalID("10000000146")
		with := func(change func(*enrolment.Record)) account.NationalID { return w.add(change).Person.NationalID }
		d, other := details(), details()
		other["family_name"] = "Kaya"
		people := map[string]struct {
			n     account.NationalID
			d     fields
			phone string
			email string
		}{
			"right":          {w.person.Person.NationalID, d, hers, ""},
			"both":           {with(func(*enrolment.Record) {}), d, hers, "ayse@example.org"},
			"wrong details":  {with(func(*enrolment.Record) {}), other, hers, ""},
			"another phone":  {with(func(*enrolment.Record) {}), d, "+905550000009", ""},
			"unknown":        {none, d, hers, ""},
			"unknown, mail":  {none, d, hers, "eve@example.org"},
			"a foreigner":    {with(func(r *enrolment.Record) { r.Person.Kind = account.Foreigner }), d, hers, ""},
			"a child":        {with(func(r *enrolment.Record) { r.Person.Birthdate = "2020-01-01" }), d, hers, ""},
			"no phone":       {with(func(r *enrolment.Record) { r.Contacts.Phone = contact.Phone{} }), d, hers, ""},
			"declared phone": {with(func(r *enrolment.Record) { r.Contacts.Phone.Grade = contact.Declared }), d, hers, ""},
			"blocked SIM":    {with(func(r *enrolment.Record) { r.Contacts.Phone.BlockedAt = storagetest.Start }), d, hers, ""},
			"locked account": {with(func(r *enrolment.Record) { r.Account.State = account.Locked }), d, hers, ""},
			"no documents":   {with(func(r *enrolment.Record) { r.Person.Documents = nil }), d, hers, ""},
		}
		var want string
		for name, p := range people {
			w.clock.Advance(time.Hour)
			v := visit
			v.Network = "net-" + name
			var got strings.Builder
			x, err := w.flow.Start(t.Context(), recovery.Forgot, "", v)
			w.ok(err)
			step := func(name string, take func(ctx context.Context) (recovery.Transaction, error)) {
				ctx, counted := storage.CountStatements(t.Context())
				w.asleep = 0
				now, err := take(ctx)
				fmt.Fprintf(&got, "%s: %d reads, %d writes, %v, %v\n", name, counted.Reads.Load(), counted.Writes.Load(), w.asleep, err)
				if err == nil {
					x = now
				}
			}
			step("number", func(ctx context.Context) (recovery.Transaction, error) {
				return w.flow.Identify(ctx, x, v, fields{"kind": "citizen", "national_id": string(p.n)})
			})
			step("details", func(ctx context.Context) (recovery.Transaction, error) { return w.flow.Detail(ctx, x, v, p.d) })
			step("contact", func(ctx context.Context) (recovery.Transaction, error) {
				return w.flow.Contact(ctx, x, v, fields{"phone": p.phone, "email": p.email})
			})
			step("wrong code", func(ctx context.Context) (recovery.Transaction, error) {
				return w.flow.Answer(ctx, x, v, fields{"code": "123456"})
			})
			w.clock.Advance(time.Minute)
			step("again", func(ctx context.Context) (recovery.Transaction, error) { return w.flow.Again(ctx, x, v) })
			step("load", func(ctx context.Context) (recovery.Transaction, error) { return w.flow.Load(ctx, x.ID, v) })
			if want == "" {
				want = got.String()
				continue
			}
			if got.String() != want {
				t.Errorf("%s:\n%sthe others:\n%s", name, got.String(), want)
			}
		}
		if !strings.Contains(want, "contact: 1 reads") || !strings.Contains(want, "tries left") && !strings.Contains(want, "recovery.code.wrong") {
			t.Errorf("the steps were not taken:\n%s", want)
		}
	}
}
