package program

import (
	"context"
	"io"

	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/storage"
)

type personCmd struct {
	Apply personApplyCmd `cmd:"" help:"Bring people in from a file of the civil registry, or for tests."`
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
