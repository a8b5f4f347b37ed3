package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/fault"
)

type clientCmd struct {
	Apply        clientApplyCmd  `cmd:"" help:"Register and change clients from a file."`
	List         clientListCmd   `cmd:"" help:"List the clients."`
	Show         clientShowCmd   `cmd:"" help:"Show one client, without secrets."`
	RotateSecret clientRotateCmd `cmd:"" help:"Give a client a new secret."`
	JWK          clientJWKCmd    `cmd:"" name:"jwk" help:"Turn a client's certificate into members of its file."`
}

type clientApplyCmd struct {
	configured
	File string `arg:"" help:"JSON file; - for standard input."`
}

func (clientApplyCmd) Help() string {
	return `All or nothing; never deletes; changes nothing the second time; prints what changed. A confidential client without
client_secret gets one, which is printed this once. kapi_logo names a PNG or JPEG below the folder of the file.

Example:
  kapi client apply clients.json`
}

func (c clientApplyCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		// Pictures are read below the folder of the file, or where the command runs; no link and no .. leads out of it.
		folder, err := os.OpenRoot(filepath.Dir(c.File))
		if err != nil {
			return err
		}
		defer folder.Close()
		return reading(c.File, func(r io.Reader) error { return x.applyClients(ctx, r, folder.FS(), con.out) })
	})
}

// registrar knows the names of the factors, so that a misspelt one in a file is found.
func (x *opened) registrar() (clients.Registrar, error) {
	r := clients.Registrar{Store: x.db, Audit: x.db, Keys: x.ring, Actor: "cli"}
	passwords, err := x.passwords(password.Options{})
	if err != nil {
		return r, err
	}
	for _, f := range x.factors(passwords, nil) {
		if i := f.Info(); i.Stage == factors.First {
			r.First = append(r.First, i.Name)
		} else {
			r.Second = append(r.Second, i.Name)
		}
	}
	return r, nil
}

// applyClients registers what the file says, with logos from folder, and prints what changed.
func (x *opened) applyClients(ctx context.Context, r io.Reader, folder fs.FS, out io.Writer) error {
	regs, err := clients.ParseFileIn(r, folder)
	if err != nil {
		return err
	}
	registrar, err := x.registrar()
	if err != nil {
		return err
	}
	report, err := registrar.Apply(ctx, regs, x.now())
	if err != nil {
		return err
	}
	_, err = report.WriteTo(out)
	return err
}

type clientListCmd struct{ configured }

func (clientListCmd) Help() string { return "Example:\n  kapi client list" }

func (c clientListCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		list, err := x.db.Clients(ctx)
		if err != nil {
			return err
		}
		return clients.WriteList(con.out, list, x.now())
	})
}

type clientShowCmd struct {
	configured
	ID string `arg:"" help:"client_id"`
}

func (clientShowCmd) Help() string { return "Example:\n  kapi client show ssi-portal" }

func (c clientShowCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		found, err := x.db.Client(ctx, c.ID)
		if errors.Is(err, fault.ErrNotFound) {
			return fmt.Errorf("there is no client %q: kapi client list shows all", c.ID)
		}
		if err != nil {
			return err
		}
		return clients.WriteShow(con.out, found)
	})
}

type clientRotateCmd struct {
	configured
	ID  string `arg:"" help:"client_id"`
	Now bool   `help:"End the old secret at once instead of in 24 hours."`
}

func (clientRotateCmd) Help() string {
	return "Example:\n  kapi client rotate-secret ssi-portal\n  kapi client rotate-secret ssi-portal --now"
}

func (c clientRotateCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		registrar, err := x.registrar()
		if err != nil {
			return err
		}
		made, until, err := registrar.RotateSecret(ctx, c.ID, x.now(), c.Now)
		if errors.Is(err, fault.ErrNotFound) {
			return fmt.Errorf("there is no client %q: kapi client list shows all", c.ID)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(con.out, "client_secret: %s\n", made)
		if !until.IsZero() {
			fmt.Fprintf(con.out, "the old one works until %s\n", until.Format(time.RFC3339))
		}
		return nil
	})
}
