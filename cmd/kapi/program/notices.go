package program

import (
	"context"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage"
)

// telling is the record that also tells people what happened to their account. Everything that acts on accounts of people
// writes through it; a command has its own words only, and says factors by their names.
func (x *opened) telling() (*notice.Recorder, error) {
	catalogue, err := words.Load(notice.Words())
	if err != nil {
		return nil, err
	}
	return &notice.Recorder{
		Next: x.db, Store: x.db, Accounts: x.db, Contacts: x.db, Throttle: x.db, Words: catalogue, Routed: x.Settings.routed, Token: keyed{x.ring}.NewToken,
		Issuer: x.Issuer, Now: x.now,
	}, nil
}

// routed says whether the settings name a gateway of the channel: what a command puts into the outbox the server sends.
func (s Settings) routed(channel string) bool {
	return map[string]string{"sms": s.SMS, "mail": s.Mail}[channel] != ""
}

// tellAll gives the record what only a server has: all words, the gateways, places, and the apps of people.
func (a *App) tellAll(registry *factors.Registry, catalogue *words.Catalogue, routes map[string][]notify.Route) {
	a.record.Words, a.record.Place = catalogue, a.place
	a.record.Routed = func(channel string) bool { return len(routes[channel]) > 0 || channel == "push" && anyPush(routes) }
	a.record.Push = func(ctx context.Context, id account.ID) (to []string, err error) {
		for _, x := range registry.All(0) {
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
}

// recordOf is the record of people's own pages: written with notices, read as it is.
type recordOf struct {
	*notice.Recorder
	*storage.DB
}

func (r recordOf) Record(ctx context.Context, e audit.Event) error { return r.Recorder.Record(ctx, e) }
