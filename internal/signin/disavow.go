package signin

import (
	"context"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Disavow ends everything, since the person says that something was not them: all sessions and what was given out in them, proofs
// of sign-ins that are under way, requests that wait on a registered device. The event says how it was said; its name is filled in.
//
// The password stays good, though somebody may know it: were a new one owed at the next sign-in, that somebody could set it and
// keep the person out. The pages ask the person to change it.
func (f *Flow) Disavow(ctx context.Context, id account.ID, e audit.Event) error {
	if id == "" {
		return fault.ErrNotFound
	}
	now := f.Now()
	e.Name, e.Outcome, e.Subject, e.At = audit.Disavowed, "ok", string(id), now
	return f.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := f.Sessions.EndSessions(ctx, id, "", now); err != nil {
			return err
		}
		for _, x := range f.Factors.All(0) {
			if s, ok := x.(factors.Stopper); ok {
				if err := s.Stop(ctx, id); err != nil {
					return err
				}
			}
		}
		return f.Audit.Record(ctx, e)
	})
}
