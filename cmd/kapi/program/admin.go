package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/provider/keys"
)

// with opens the database for one command and closes it.
func (c configured) with(ctx context.Context, con *console, fn func(*opened) error) error {
	s, err := c.settings(con)
	if err != nil {
		return err
	}
	x, err := open(ctx, s, Options{Log: logger(con.err, s.LogLevel)})
	if err != nil {
		return err
	}
	defer x.db.Close()
	return fn(x)
}

// reading opens the file of an apply command; "-" is standard input.
func reading(path string, fn func(io.Reader) error) error {
	if path == "-" {
		return fn(os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(f)
}

type migrateCmd struct{ configured }

func (migrateCmd) Help() string {
	return `Old servers go on working beside the new schema, so migrate first and replace the servers then.

Example:
  KAPI_DATABASE=postgres://kapi@db/kapi KAPI_SECRET_FILE=/etc/kapi/secret kapi migrate`
}

func (c migrateCmd) Run(ctx context.Context, con *console) error {
	s, err := c.settings(con)
	if err != nil {
		return err
	}
	s.AutoMigrate = true
	x, err := open(ctx, s, Options{Log: logger(con.err, s.LogLevel)})
	if err != nil {
		return err
	}
	defer x.db.Close()
	_, err = fmt.Fprintln(con.out, "the schema is up to date")
	return err
}

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the signing keys and their states."`
	Rotate keysRotateCmd `cmd:"" help:"Publish new signing keys."`
	Remove keysRemoveCmd `cmd:"" help:"Publish a key no longer: for one that others may know."`
}

type keysListCmd struct{ configured }

func (keysListCmd) Help() string { return "Example:\n  kapi keys list" }

func (c keysListCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		ring, err := x.keys(ctx, "cli")
		if err != nil {
			return err
		}
		list, err := ring.List(ctx)
		if err != nil {
			return err
		}
		return printKeys(con.out, list)
	})
}

func printKeys(out io.Writer, list []keys.Key) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KID\tALG\tSTATE\tPUBLISHED\tSIGNS FROM\tREMOVED AT")
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.KID, k.Alg, k.State, when(k.PublishedAt), when(k.ActivatesAt), when(k.RemoveAt))
	}
	return w.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

type keysRotateCmd struct {
	configured
	Now bool `help:"Sign with the new keys at once: for a key that may be known to others, which keys remove then takes away."`
}

func (keysRotateCmd) Help() string {
	return `A new key is published now and signs a day later, when every client has fetched it. Servers under way follow by
themselves.

Example:
  kapi keys rotate
  kapi keys rotate --now`
}

func (c keysRotateCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		ring, err := x.keys(ctx, "cli")
		if err != nil {
			return err
		}
		made, err := ring.Rotate(ctx, c.Now)
		if err != nil {
			return err
		}
		return printKeys(con.out, made)
	})
}

type keysRemoveCmd struct {
	configured
	KID string `arg:"" help:"The key's id, as keys list shows it."`
}

func (keysRemoveCmd) Help() string {
	return `An old key stays published for a day and a half after a rotation, for what it has signed. One that others may know must not: put another in its
place with rotate --now, then remove it. Tokens that it signed are refused from then on, by clients when they fetch the keys anew.

Example:
  kapi keys remove X5TtMkL8KgQOd9OL`
}

func (c keysRemoveCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		ring, err := x.keys(ctx, "cli")
		if err != nil {
			return err
		}
		if err := ring.Remove(ctx, c.KID); err != nil {
			return err
		}
		_, err = fmt.Fprintln(con.out, "removed")
		return err
	})
}

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Walk the audit chain and compare it with the anchor."`
}

type auditVerifyCmd struct {
	configured
	WithoutAnchor bool `help:"Look at the chain alone: where the anchor file is kept elsewhere."`
}

func (auditVerifyCmd) Help() string {
	return `Names the first entry that was edited, deleted, reordered or cut off; the exit status is 1 then, and also when the
anchor file is gone though the record is older than a few minutes.

Example:
  kapi audit verify
  kapi audit verify --without-anchor`
}

func (c auditVerifyCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		anchor := x.AuditAnchor
		if c.WithoutAnchor {
			anchor = ""
		}
		r, err := audit.Verify(ctx, x.db, anchor, x.now())
		if err != nil {
			return err
		}
		return printAudit(con.out, r)
	})
}

func printAudit(out io.Writer, r audit.Result) error {
	for _, note := range r.Notes {
		fmt.Fprintln(out, "note:", note)
	}
	if r.Bad != nil {
		return r.Bad
	}
	_, err := fmt.Fprintf(out, "the record is whole: %d entries, %d not chained yet, %d anchor lines compared\n", r.Entries, r.Unsealed, r.Anchors)
	return err
}
