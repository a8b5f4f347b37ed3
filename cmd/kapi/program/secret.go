package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kapi-id/kapi/internal/secret"
)

type secretCmd struct {
	New secretNewCmd `cmd:"" help:"Make the root key."`
}

type secretNewCmd struct {
	File string `arg:"" help:"Where to write it; an existing file is never overwritten."`
}

func (secretNewCmd) Help() string {
	return `The root key wraps every other key. Whoever has it and the database can read everything; whoever loses it has lost the
database. Keep a copy apart from the backups.

Example:
  kapi secret new /etc/kapi/secret`
}

func (c secretNewCmd) Run(con *console) error {
	if err := secret.NewRoot(c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(con.out, "wrote the root key to %s\n", c.File)
	return err
}

// root reads the root key. On SQLite it is made when absent, so that a first start needs no other step.
func (s Settings) root() (secret.Root, error) {
	_, err := os.Stat(s.SecretFile)
	if errors.Is(err, fs.ErrNotExist) && s.sqlite() {
		if err := secret.NewRoot(s.SecretFile); err != nil && !errors.Is(err, fs.ErrExist) {
			return secret.Root{}, err
		}
	} else if err != nil {
		return secret.Root{}, fmt.Errorf("the root key: %w: make one with kapi secret new %s", err, s.SecretFile)
	}
	return secret.ReadRoot(s.SecretFile)
}

// NewSecret makes a root key file, for a program around an App.
func NewSecret(path string) error { return secret.NewRoot(path) }
