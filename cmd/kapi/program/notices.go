package program

import (
	"context"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage"
)

// telling is the record that also tells people what happened to their account. Everything that acts on accounts of people
// writes through it; a command has its own words only, and says factors by their names. Which gateways there are it does not know,
// since its environment may not be the server's: it queues for every channel, and the server closes what has no route.
func (x *opened) telling() (*notice.Recorder, error) {
	catalogue, err := words.Load(notice.Words())
	if err != nil {
		return nil, err
	}
	return &notice.Recorder{
		Next: x.db, Store: x.db, Accounts: x.db, Contacts: x.db, Throttle: x.db, Words: catalogue, Routed: func(string) bool { return true },
		Push: x.apart, Token: keyed{x.ring}.NewToken, Issuer: x.Issuer, Now: x.now,
	}, nil
}

// apart finds the apps of a person where no server runs.
func (x *opened) apart(ctx context.Context, id account.ID) ([]string, error) {
	passwords, err := x.passwords(password.Options{})
	if err != nil {
		return nil, err
	}
	return appsOf(ctx, x.factors(passwords, nil), id)
}

// appsOf is where the apps of a person are reached.
func appsOf(ctx context.Context, all []factors.Factor, id account.ID) (to []string, err error) {
	for _, x := range all {
		r, ok := x.(factors.Reacher)
		if !ok {
			continue
		}
		at, err := r.Reach(ctx, id)
		if err != nil {
			return nil, err
		}
		if at != "" {
			to = append(to, at)
		}
	}
	return to, nil
}

// tellAll gives the record what only a server has: all words, the gateways, places, and the apps of people.
func (a *App) tellAll(registry *factors.Registry, catalogue *words.Catalogue, routes map[string][]notify.Route) {
	a.record.Words, a.record.Place = catalogue, a.place
	a.record.Routed = func(channel string) bool { return len(routes[channel]) > 0 || channel == "push" && anyPush(routes) }
	a.record.Push = func(ctx context.Context, id account.ID) ([]string, error) {
		return appsOf(ctx, registry.All(0), id)
	}
}

// recordOf is the record of people's own pages: written with notices, read as it is.
type recordOf struct {
	*notice.Recorder
	*storage.DB
}

func (r recordOf) Record(ctx context.Context, e audit.Event) error { return r.Recorder.Record(ctx, e) }
