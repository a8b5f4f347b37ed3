package device

import (
	"context"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
)

// Doors by which a person comes to a request.
const (
	DoorList = "list"
	DoorPush = "push"
	DoorQR   = "qr"
	DoorHere = "here" // the browser that signs in holds the key
)

const (
	yes = "approve"
	no  = "deny"
)

// What is wrong with an answer of the device; the endpoints turn it into a status.
var (
	errStatement = errors.New("device: what was signed is not what was asked")
	errNumber    = errors.New("device: not the number on the screen")
	errUnknown   = errors.New("device: no such request")
	errDecided   = errors.New("device: somebody was faster")
	errOver      = errors.New("device: the request is over")
	errScanned   = errors.New("device: scanned already")
)

// asked finds the request that a device names.
func (f *Factor) asked(ctx context.Context, d device, txn string) (request, error) {
	all, err := f.requests(ctx, d.Account)
	if err != nil {
		return request{}, err
	}
	i := slices.IndexFunc(all, func(r request) bool { return r.Txn == txn && r.Device == d.ID })
	switch {
	case i < 0:
		return request{}, errUnknown
	case all[i].waiting(f.now()):
		return all[i], nil
	case len(all[i].Secret) == 0 || all[i].scanned():
		return request{}, errOver
	}
	return request{}, errDecided
}

// said checks a statement against the request: by this device, for this issuer, over the bytes we keep. number is looked at
// elsewhere.
func (f *Factor) said(d device, r request, compact, decision string, here bool) (st statement, err error) {
	s, err := take(compact, typeStatement, true)
	if err != nil || s.kid != d.ID {
		return st, errStatement
	}
	if s.by(d.key, &st) != nil {
		return st, errStatement
	}
	doors := []string{DoorList, DoorPush, DoorQR}
	if here {
		doors = []string{DoorHere}
	}
	switch {
	case st.Iss != d.ID || st.Aud != f.kit.Issuer || st.Decision != decision,
		st.Iat < r.CreatedAt.Unix()-leeway || st.Iat > f.now().Unix()+leeway,
		!slices.Contains(doors, st.Door), st.Ctr < 1 || st.Ctr > maxCounter,
		subtle.ConstantTimeCompare([]byte(st.Challenge), []byte(r.Challenge)) != 1:
		return st, errStatement
	}
	return st, nil
}

// approve is a yes of the device. A number that is not the one on the screen, or is not there, ends the request: who taps at
// everything hits nothing, and nobody guesses twice (row D2).
func (f *Factor) approve(ctx context.Context, d device, txn, compact string, ctr int64, m moment) error {
	r, err := f.asked(ctx, d, txn)
	if err != nil {
		return err
	}
	st, err := f.said(d, r, compact, yes, false)
	if err != nil {
		return err
	}
	if st.Ctr != ctr || (st.Door == DoorQR) != r.scanned() || r.scanned() && st.Number != "" {
		return errStatement
	}
	if !r.scanned() && subtle.ConstantTimeCompare([]byte(st.Number), []byte(r.Number)) != 1 {
		return f.decide(ctx, errNumber, func(ctx context.Context) error {
			if err := f.end(ctx, r, endedNumber); err != nil {
				return err
			}
			return f.record(ctx, m, audit.DeviceDenied, "refused", d.Account, f.details(r, "reason", endedNumber))
		})
	}
	if err := f.decide(ctx, nil, func(ctx context.Context) error { return f.pass(ctx, r, st.Door, 0, m) }); err != nil {
		return err
	}
	return failpoint.Here("approval-given")
}

// pass moves a request to approved, with the record of it. ctr is kept where it stands for the statement; see passedHere.
func (f *Factor) pass(ctx context.Context, r request, door string, ctr int64, m moment) error {
	if err := f.turn(ctx, r, approved, func(m *memo) { m.Door, m.Ctr = door, ctr }); err != nil {
		return err
	}
	if err := f.record(ctx, m, audit.DeviceApproved, "ok", r.Account, f.details(r, "door", door)); err != nil {
		return err
	}
	return failpoint.Here("approval-write")
}

// decide runs fn in one transaction and says errDecided when the request has moved meanwhile, else then.
func (f *Factor) decide(ctx context.Context, then error, fn func(context.Context) error) error {
	err := f.kit.Atomically(ctx, fn)
	if errors.Is(err, fault.ErrConflict) {
		return errDecided
	}
	if err != nil {
		return err
	}
	return then
}

// details of an event about a request: what was shown, nothing of how it was proven.
func (f *Factor) details(r request, name, value string) map[string]string {
	var c Challenge
	_ = strict([]byte(r.Challenge), &c)
	return map[string]string{"factor": Name, "service": c.Service, "action": c.Action, "place": c.Place, "browser": c.Browser, name: value}
}

// deny is a no of the device. Who says "not me" ends all that waits, stops pushes for browsers that were never used, and blocks the one
// that asked (row D3), in one commit: a request that is decided is not asked of again.
func (f *Factor) deny(ctx context.Context, d device, txn, reason, compact string, ctr int64, m moment) error {
	r, err := f.asked(ctx, d, txn)
	if err != nil {
		return err
	}
	st, err := f.said(d, r, compact, no, false)
	if err != nil {
		return err
	}
	if st.Ctr != ctr || st.Number != "" {
		return errStatement
	}
	return f.decide(ctx, nil, func(ctx context.Context) error {
		if err := f.end(ctx, r, reason); err != nil {
			return err
		}
		if reason == endedNotMe {
			if err := f.endAll(ctx, d.Account, endedNotMe); err != nil {
				return err
			}
			if err := f.pause(ctx, d.Account, r.Browser, m); err != nil {
				return err
			}
		}
		return f.record(ctx, m, audit.DeviceDenied, "ok", d.Account, f.details(r, "reason", reason))
	})
}

// pause stops pushes for browsers that were never used, and lets one browser ask for nothing, for a while.
func (f *Factor) pause(ctx context.Context, id account.ID, browser string, m moment) error {
	now := f.now()
	until := now.Add(Pause)
	err := f.note(ctx, id, func(l *logMemo) bool {
		l.Paused = until.Unix()
		maps.DeleteFunc(l.Not, func(_ string, at int64) bool { return at <= now.Unix() })
		if browser != "" {
			if l.Not == nil {
				l.Not = map[string]int64{}
			}
			l.Not[browser] = until.Unix()
		}
		return true
	}, func(ctx context.Context) error {
		return f.record(ctx, m, audit.PushPaused, "ok", id, map[string]string{"until": until.Format(time.RFC3339), "reason": endedNotMe})
	})
	if errors.Is(err, fault.ErrConflict) { // not the conflict that says that somebody was faster
		return fault.New(fault.Unavailable, "")
	}
	return err
}

// Stop ends what waits, after a person said that a sign-in was not theirs, and keeps pushes quiet for a while.
func (f *Factor) Stop(ctx context.Context, id account.ID) error {
	o, err := f.owned(ctx, id)
	if err != nil || o.device.ID == "" {
		return err
	}
	if err := f.endAll(ctx, id, endedNotMe); err != nil {
		return err
	}
	return f.pause(ctx, id, "", moment{})
}

// scan gives the device the request behind a QR code. It is the first and only one to scan it (row D5).
func (f *Factor) scan(ctx context.Context, d device, code string) (request, error) {
	all, err := f.requests(ctx, d.Account)
	if err != nil {
		return request{}, err
	}
	now := f.now()
	i := slices.IndexFunc(all, func(r request) bool { return r.Device == d.ID && f.shows(r, code, now) })
	switch {
	case i < 0:
		return request{}, errUnknown
	case all[i].scanned():
		return request{}, errScanned
	case all[i].approved() || len(all[i].Secret) > 0:
		return request{}, errDecided
	case !all[i].waiting(now):
		return request{}, errOver
	}
	r := all[i]
	if err := f.turn(ctx, r, scanned, func(*memo) {}); err != nil {
		if errors.Is(err, fault.ErrConflict) {
			return r, errScanned
		}
		return r, err
	}
	r.Secret = scanned
	return r, nil
}

// Verify gives the device's answer to the browser that waits for it, once. Where the browser holds the key itself, the field code
// carries its statement.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	r, err := f.find(ctx, try)
	if errors.Is(err, fault.ErrNotFound) {
		return factors.Proof{}, fault.New(fault.Expired, "device.expired")
	}
	if err != nil {
		return factors.Proof{}, err
	}
	o, err := f.owned(ctx, try.Account)
	if err != nil {
		return factors.Proof{}, err
	}
	if o.device.State != active || o.device.ID != r.Device {
		return factors.Proof{}, fault.New(fault.Denied, "device.none")
	}
	if code := answer.Get("code"); code != "" {
		if r, err = f.here(ctx, try, o.device, r, code); err != nil {
			return factors.Proof{}, err
		}
	}
	if !r.approved() {
		return factors.Proof{}, f.unanswered(r)
	}
	t, right, err := f.kit.Tickets.Answer(ctx, try.Binding, try.Purpose, try.Account, approved, 1<<30)
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return factors.Proof{}, fault.New(fault.Expired, "device.expired")
	case err != nil:
		return factors.Proof{}, err
	case !right || t.ID != r.ID: // ended in this moment
		return factors.Proof{}, fault.New(fault.Denied, "device.refused")
	}
	if err := failpoint.Here("approval-used"); err != nil {
		return factors.Proof{}, err
	}
	p := factors.Proof{
		Factor: Name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: Channel, Level: acr.Low,
		AMR: []string{"swk", "user"}, At: f.now(),
	}
	if r.Door == DoorHere {
		p.Channel, p.AMR = factors.Here, []string{"swk"}
	}
	return p, nil
}

// here takes the statement of the browser that waits.
func (f *Factor) here(ctx context.Context, try factors.Try, d device, r request, code string) (request, error) {
	wrong := fault.Wrap(fault.Denied, "device.not_here", factors.ErrWrong)
	st, err := f.said(d, r, code, yes, true)
	switch {
	case err != nil || st.Number != "" || !alone(try):
		return r, wrong
	case r.approved():
		return r, nil // by another door meanwhile
	case !r.waiting(f.now()) || r.scanned():
		return r, f.unanswered(r)
	}
	m := moment{network: try.Network, agent: try.Agent}
	_, err = f.countAnd(ctx, d, st.Ctr, m, func(ctx context.Context) error { return f.pass(ctx, r, DoorHere, st.Ctr, m) }, func(ctx context.Context) (bool, error) {
		return f.passedHere(ctx, try, r, st.Ctr) // the form was sent twice at once
	})
	switch {
	case errors.Is(err, errBlocked):
		return r, fault.Wrap(fault.Denied, "device.copied", errors.Join(factors.ErrWrong, err))
	case errors.Is(err, fault.ErrConflict):
		return r, fault.New(fault.Denied, "device.refused")
	case err != nil:
		return r, err
	}
	r.Secret, r.Door = approved, DoorHere
	return r, f.unpush(ctx, r)
}

// passedHere says whether a request was approved by this very statement since it was read, whatever became of it then.
func (f *Factor) passedHere(ctx context.Context, try factors.Try, r request, ctr int64) (bool, error) {
	now, err := f.find(ctx, try)
	if errors.Is(err, fault.ErrConflict) {
		return true, nil // and used up
	}
	return err == nil && now.ID == r.ID && now.Door == DoorHere && now.Ctr == ctr, err
}

// unanswered says why there is no yes to give.
func (f *Factor) unanswered(r request) error {
	switch {
	case r.waiting(f.now()):
		return fault.New(fault.Invalid, "device.waiting")
	case r.Ended == "":
		return fault.New(fault.Expired, "device.expired")
	}
	return whyOver(r.Ended)
}

// whyOver says why a request is over; its key is the sentence of the page.
func whyOver(why string) *fault.Error {
	switch why {
	case endedNotMe:
		return fault.New(fault.Denied, "device.not_me")
	case endedNumber:
		return fault.New(fault.Denied, "device.wrong_number")
	case endedReplaced:
		return fault.New(fault.Denied, "device.replaced")
	case endedBlocked, endedRemoved:
		return fault.New(fault.Denied, "device.none")
	}
	return fault.New(fault.Denied, "device.refused")
}
