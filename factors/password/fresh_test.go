package password

import (
	"context"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
)

// asked says whether credentials were asked for anew.
type asked struct {
	factors.Credentials
	stale int
}

func (a *asked) Of(ctx context.Context, id account.ID) ([]factors.Credential, error) {
	if !factors.IsFresh(ctx) {
		a.stale++
	}
	return a.Credentials.Of(ctx, id)
}

// A password that was changed while a sign-in waited for a hash slot is the old one, whatever its request read before.
func TestComparesWithWhatIsStoredNow(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, "a password for this test", false)
	a := &asked{Credentials: b.Factor.kit.Credentials}
	b.Factor.kit.Credentials = a
	if _, err := b.signIn(ayse, "a password for this test"); err != nil {
		t.Fatal(err)
	}
	if a.stale > 0 {
		t.Errorf("%d times it would have taken what was remembered", a.stale)
	}
}
