package password

import (
	"context"
	"fmt"

	"github.com/kapi-id/kapi/internal/account"
)

// Lent is the hashing of passwords for secrets of another factor, such as backup codes: the same cost, the same pepper, and the
// same slots, so that two factors cannot eat the machine together. A hash is good for nothing but its purpose and account.
type Lent struct {
	f       *Factor
	purpose string
}

// Lend returns the hashing for a purpose, such as a factor's name; not "" and not that of passwords.
func (f *Factor) Lend(purpose string) Lent {
	if purpose == "" || purpose == Name {
		panic("password: hashing is lent for a purpose")
	}
	return Lent{f, purpose}
}

func (l Lent) hasher() hasher {
	h := l.f.hasher
	h.purpose = l.purpose
	return h
}

// Hash waits for a slot and returns the PHC string of a secret of the account. fault.Unavailable when no slot comes free.
func (l Lent) Hash(ctx context.Context, id account.ID, secret string) (string, error) {
	release, err := l.f.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	h, err := l.hasher().make(id, secret)
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Matches waits for a slot and compares; stored "" is compared with nothing, at the same cost.
func (l Lent) Matches(ctx context.Context, id account.ID, stored, secret string) (bool, error) {
	release, err := l.f.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	h := l.f.dummy
	if stored != "" {
		if h, err = parse(stored); err != nil {
			return false, fmt.Errorf("%s: %w", l.purpose, err)
		}
	}
	ok, err := l.hasher().matches(h, id, secret)
	return ok && stored != "", err
}
