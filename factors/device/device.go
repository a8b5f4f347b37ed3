package device

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Numbers of a request and of pushes.
const (
	Life    = 2 * time.Minute  // a request waits this long for its answer
	Memory  = 6 * time.Minute  // and is remembered this long, so that a late page says what happened and asks for nothing anew
	Pairing = 5 * time.Minute  // a pairing code
	Pause   = time.Hour        // pushes rest
	Image   = 30 * time.Second // a QR code is drawn anew; it is good for twice as long

	mostPushes = 3                // for unknown browsers, in pushWindow
	mostKnown  = 6                // for known ones; see mayPush
	pushWindow = 10 * time.Minute //
	mostOpen   = 5                // requests that wait for one person, from known browsers and from others
	refresh    = 20 * time.Second // of the page without a script
	aside      = 4 * time.Second  // how long a push leaves a browser that may hold the key to sign by itself
)

// Name of the factor.
const Name = "device"

// Channel of its proofs: not the browser's own line.
const Channel = "device"

//go:embed pages
var files embed.FS

// Options are what an installation may set; the zero value works.
type Options struct {
	// Minimum is the least version of the app by platform ("web", "android", "ios", "huawei"); "" holds for those not named.
	Minimum map[string]Version
	// Links is where a newer version is, by platform; else ISSUER/app.
	Links map[string]string
	// WebPushKey is the applicationServerKey of Web Push (RFC 8292 §3.2), base64url; "" = no Web Push.
	WebPushKey string
	// WebPush says whether pushes are sent to an endpoint of Web Push; nil = to any that leads outside.
	WebPush func(endpoint string) bool
	// Leaving says when somebody said that a person's device is lost, and when it goes because of that; zero = nobody did. nil =
	// nobody can.
	Leaving func(ctx context.Context, id account.ID) (said, goes time.Time, err error)
	// Held says why the ways to sign in may not be changed now, as a fault.Denied with its end as "time"; nil = they may, always if Held is.
	Held func(ctx context.Context, id account.ID) error
	// Stands says whether the session in which a pairing code was made (factors.Try.Binding) is still there; nil = nobody asks.
	Stands func(ctx context.Context, binding string) (bool, error)
}

// Factor is the registered device.
type Factor struct {
	kit  factors.Kit
	opts Options
}

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Available = (*Factor)(nil)
	_ factors.Waiter    = (*Factor)(nil)
	_ factors.Resender  = (*Factor)(nil)
	_ factors.Mounter   = (*Factor)(nil)
	_ factors.Enroller  = (*Factor)(nil)
	_ factors.Dropper   = (*Factor)(nil)
)

// New returns the factor over its kit.
func New(kit factors.Kit, o Options) *Factor { return &Factor{kit: kit, opts: o} }

// Pages holds page.html, those of the settings, and words.json.
func (f *Factor) Pages() fs.FS {
	sub, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err)
	}
	return sub
}

// Info: the host counts no tries. A signature cannot be guessed, and a number has one try.
func (f *Factor) Info() factors.Info {
	return factors.Info{Name: Name, Stage: factors.Second, Order: 10}
}

// Available says whether the person has a registered device that may answer.
func (f *Factor) Available(ctx context.Context, id account.ID) (bool, error) {
	o, err := f.owned(ctx, id)
	return o.device.State == active, err
}

// States of the device's credential.
const (
	active  = "active"
	blocked = "blocked" // the key may have been copied
	pushes  = "pushes"  // not the device: see pushLog
)

// device is a registered device.
type device struct {
	factors.Credential
	record
	key *ecdsa.PublicKey
}

// record is what of a device is sealed.
type record struct {
	Name     string        `json:"name"`
	Platform string        `json:"platform"`
	Version  string        `json:"version"`
	Key      jwk           `json:"key"`
	Push     *Subscription `json:"push,omitempty"`
	Gone     bool          `json:"gone,omitempty"` // the push service knows the subscription no more
	Used     int64         `json:"used,omitempty"` // seconds; the last answer
}

func (r record) used() time.Time { return second(r.Used) }

func second(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// read puts a stored credential together.
func read(c factors.Credential) (device, error) {
	d := device{Credential: c}
	if err := json.Unmarshal(c.Data, &d.record); err != nil {
		return d, fmt.Errorf("device: credential %s: %w", c.ID, err)
	}
	var err error
	if d.key, err = d.Key.public(); err != nil {
		return d, fmt.Errorf("device: credential %s: %w", c.ID, err)
	}
	return d, nil
}

// owned is what the factor keeps of a person.
type owned struct {
	device device  // the zero device if there is none
	log    pushLog // of pushes
}

// handles: one device and one log for each person.
func deviceOf(id account.ID) string { return "of:" + string(id) }
func logOf(id account.ID) string    { return "pushes:" + string(id) }

func (f *Factor) owned(ctx context.Context, id account.ID) (o owned, err error) {
	rows, err := f.kit.Credentials.Of(ctx, id)
	if err != nil || id == "" {
		return o, err
	}
	for _, c := range rows {
		switch c.Handle {
		case deviceOf(id):
			if o.device, err = read(c); err != nil {
				return o, err
			}
		case logOf(id):
			if o.log, err = readLog(c); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

// byID finds a device by the id it signs with; fault.ErrNotFound.
func (f *Factor) byID(ctx context.Context, id string) (device, error) {
	c, err := f.kit.Credentials.ByID(ctx, id)
	if err != nil {
		return device{}, err
	}
	if c.Handle != deviceOf(c.Account) {
		return device{}, fault.ErrNotFound
	}
	return read(c)
}

// leaving is when the device was said to be lost, and when it goes; zero where it was not.
func (f *Factor) leaving(ctx context.Context, d device) (said, goes time.Time, err error) {
	if d.ID == "" || f.opts.Leaving == nil {
		return said, goes, nil
	}
	said, goes, err = f.opts.Leaving(ctx, d.Account)
	if err != nil || said.Before(d.CreatedAt) { // of a device before this one
		return time.Time{}, time.Time{}, err
	}
	return said, goes, nil
}

// change writes what fn makes of the record and the credential of the person's device, whatever else moves meanwhile. said, if anything,
// is said of it before, in the same commit. fault.ErrNotFound if there is none.
func (f *Factor) change(ctx context.Context, id account.ID, fn func(*device) error, said func(context.Context) error) error {
	for range 20 {
		o, err := f.owned(ctx, id)
		if err != nil {
			return err
		}
		if o.device.ID == "" {
			return fault.ErrNotFound
		}
		if err := fn(&o.device); err != nil {
			return err
		}
		err = f.kit.Atomically(ctx, func(ctx context.Context) error {
			if said != nil {
				if err := said(ctx); err != nil {
					return err
				}
			}
			return f.save(ctx, o.device)
		})
		if !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	return fault.ErrConflict
}

func (f *Factor) save(ctx context.Context, d device) (err error) {
	if d.Data, err = json.Marshal(d.record); err != nil {
		return err
	}
	return f.kit.Credentials.Update(ctx, d.Credential)
}

var errBlocked = errors.New("device: the counter was used: somebody has a copy of the key")

// errMoved: the device was written meanwhile; what was to be written is tried anew.
var errMoved = errors.New("device: written meanwhile")

// count takes the device's counter forward to ctr. A number that was used before is what a copy of the key gives itself away
// by: the device is blocked, and errBlocked says so. One conditional write.
//
// A number below the last one is that too, even if nobody used it. A window of numbers that may come late, as IPsec has it against replays
// (RFC 4303 §3.4.3), would let a copy jump ahead by half of it and stay unseen while the device goes on below, or use a number that the
// device left out and never be seen at all; and a device that sends one request at a time, as it must, has nothing that comes late
// (docs/adr/0008).
func (f *Factor) count(ctx context.Context, d device, ctr int64, m moment) (device, error) {
	return f.countAnd(ctx, d, ctr, m, nil, nil)
}

// countAnd is count in one commit with what the number was for, where a browser may send the same signature anew: what was not done is
// not counted either. done says whether this very signature was counted before, which is no sign of a copy.
func (f *Factor) countAnd(ctx context.Context, d device, ctr int64, m moment, also func(context.Context) error, done func(context.Context) (bool, error)) (device, error) {
	for range 20 {
		if d.State != active {
			return d, errBlocked
		}
		if ctr <= d.Counter {
			if done != nil {
				if yes, err := done(ctx); yes || err != nil {
					return d, err
				}
			}
			return d, errors.Join(errBlocked, f.block(ctx, d, m))
		}
		next := d
		next.Counter, next.Used = ctr, f.now().Unix()
		err := f.kit.Atomically(ctx, func(ctx context.Context) error {
			err := f.save(ctx, next)
			if errors.Is(err, fault.ErrConflict) {
				return errMoved
			}
			if err != nil || also == nil {
				return err
			}
			return also(ctx)
		})
		if err == nil {
			next.Credential.Version++
			return next, nil
		}
		if !errors.Is(err, errMoved) {
			return d, err
		}
		if d, err = f.byID(ctx, d.ID); err != nil {
			return d, err
		}
	}
	return d, fault.ErrConflict
}

// block ends the device's say: no signature of its key counts from here on, and what waits for it waits no more.
func (f *Factor) block(ctx context.Context, d device, m moment) error {
	for range 20 {
		err := f.kit.Atomically(ctx, func(ctx context.Context) error {
			now, err := f.byID(ctx, d.ID)
			if errors.Is(err, fault.ErrNotFound) || err == nil && now.State == blocked {
				return nil
			}
			if err != nil {
				return err
			}
			// While it is active, so that the notice reaches it too.
			if err := f.record(ctx, m, audit.DeviceBlocked, "refused", d.Account, map[string]string{"reason": "counter", "name": d.Name}); err != nil {
				return err
			}
			now.State = blocked
			if err := f.save(ctx, now); err != nil {
				return err
			}
			return f.endAll(ctx, d.Account, endedBlocked)
		})
		if !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	return fault.ErrConflict
}

// moment is where something was asked from, for the record.
type moment struct{ network, agent, request string }

func (f *Factor) record(ctx context.Context, m moment, name audit.Name, outcome string, id account.ID, details map[string]string) error {
	cause := audit.CauseOf(ctx)
	return f.kit.Audit.Record(ctx, audit.Event{
		At: f.now(), Name: name, Outcome: outcome, Actor: string(id), Subject: string(id), Client: cause.Client, Session: cause.Session,
		Request: cmp.Or(m.request, cause.Request), Network: m.network, Agent: m.agent, Details: details,
	})
}

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }
