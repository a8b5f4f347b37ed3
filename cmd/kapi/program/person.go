package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
)

type personCmd struct {
	Apply      personApplyCmd   `cmd:"" help:"Bring people in from a file of the civil registry, or for tests."`
	Unlock     personUnlockCmd  `cmd:"" help:"Lift the locks that wrong answers have put on a person."`
	Release    personReleaseCmd `cmd:"" help:"Lift what a recovery or a lost device holds for a day."`
	VouchPhone personVouchCmd   `cmd:"" help:"Say that a phone is a person's, who was seen with the ID card."`
	UnblockSIM personUnblockCmd `cmd:"" name:"unblock-sim" help:"Let codes go to a number again whose SIM card was changed."`
}

type personApplyCmd struct {
	configured
	File string `arg:"" help:"JSON file; - for standard input."`
}

func (personApplyCmd) Help() string {
	return `All or nothing; never deletes; changes nothing the second time. A password is set only when the person is created, and is
not held to the password rules.

Example:
  kapi person apply people.json`
}

func (c personApplyCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		passwords, err := x.passwords(password.Options{})
		if err != nil {
			return err
		}
		return reading(c.File, func(r io.Reader) error { return x.applyPeople(ctx, r, passwords, con.out) })
	})
}

// applyPeople stores what the file says and prints what changed.
func (x *opened) applyPeople(ctx context.Context, r io.Reader, passwords *password.Factor, out io.Writer) error {
	people, err := enrolment.ParsePeople(r)
	if err != nil {
		return err
	}
	importer := enrolment.Importer{Store: x.db, Audit: x.db, Actor: "cli",
		Password: func(ctx context.Context, id account.ID, word string, temporary bool) (func(context.Context) error, error) {
			prepared, err := passwords.PrepareSet(ctx, id, word, temporary)
			if err != nil {
				return nil, err
			}
			return prepared.Write, nil
		}}
	report, err := importer.Apply(storage.Patient(ctx), people, x.now())
	if err != nil {
		return err
	}
	_, err = report.WriteTo(out)
	return err
}

type personUnlockCmd struct {
	configured
	NationalID string `arg:"" help:"ID number."`
}

func (personUnlockCmd) Help() string {
	return `After five wrong answers in a row a factor rests, up to an hour; after a hundred it is off until somebody lifts that here. Make
sure by other means who is asking. The record says that it was done; where nothing was locked, nothing is.

Example:
  kapi person unlock 10000000146`
}

func (c personUnlockCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		n, a, err := x.named(ctx, c.NationalID)
		if err != nil {
			return err
		}
		passwords, err := x.passwords(password.Options{})
		if err != nil {
			return err
		}
		registry, err := factors.NewRegistry(x.factors(passwords, nil)...)
		if err != nil {
			return err
		}
		keys, locked := signin.TryKeys(keyed{x.ring}, registry, n, a.ID), false
		err = x.db.Atomically(ctx, func(ctx context.Context) (err error) {
			if locked, err = x.db.Locked(ctx, keys...); err != nil || !locked {
				return err
			}
			if err := x.db.Clear(ctx, keys...); err != nil {
				return err
			}
			return x.record.Record(ctx, audit.Event{At: x.now(), Name: audit.PersonUnlocked, Outcome: "ok", Actor: "cli", Subject: string(a.ID)})
		})
		if err != nil {
			return err
		}
		if !locked {
			_, err = fmt.Fprintln(con.out, "nothing was locked")
			return err
		}
		_, err = fmt.Fprintln(con.out, "unlocked")
		return err
	})
}

type personReleaseCmd struct {
	configured
	NationalID string `arg:"" help:"ID number."`
}

func (personReleaseCmd) Help() string {
	return `After a new password for a forgotten one nobody can change the person's ways to sign in for a day; after an undone one nobody can
recover again for a day; and a device that is said to be lost is removed a day later. This ends all three. Make sure by other means who
is asking. The record says that it was done.

Example:
  kapi person release 10000000146`
}

func (c personReleaseCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		_, a, err := x.named(ctx, c.NationalID)
		if err != nil {
			return err
		}
		passwords, err := x.passwords(password.Options{})
		if err != nil {
			return err
		}
		lifted, err := x.heldBack(passwords, nil, nil).Lift(ctx, a.ID, audit.Event{Actor: "cli"})
		if err != nil {
			return err
		}
		if len(lifted) == 0 {
			_, err = fmt.Fprintln(con.out, "nothing was held")
			return err
		}
		_, err = fmt.Fprintln(con.out, "released:", strings.Join(lifted, ", "))
		return err
	})
}

// named finds the person of a command line.
func (x *opened) named(ctx context.Context, typed string) (account.NationalID, account.Account, error) {
	n, err := account.ParseNationalID(typed)
	if err != nil {
		return "", account.Account{}, errors.New("this is no ID number: 11 digits with a right checksum")
	}
	a, err := x.db.AccountByNationalID(ctx, n)
	if errors.Is(err, fault.ErrNotFound) {
		err = errors.New("there is no such person")
	}
	return n, a, err
}
