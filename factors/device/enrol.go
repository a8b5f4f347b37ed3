package device

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/qrcode"
)

// ManageView is the data of manage.html and remove.html.
type ManageView struct {
	On          bool // there is a device
	Blocked     bool // which is not trusted any more
	Name        string
	Platform    string
	Since       time.Time
	Used        time.Time // zero = never yet
	Lost        bool      // somebody said that it is lost
	Removal     time.Time // and then it goes
	Unreachable bool      // pushes do not arrive
	Paused      time.Time // no pushes for unknown browsers until then; zero = as usual
	Possible    bool      // two-factor authentication is on
	Free        bool      // this session may replace and remove
}

// PairView is the data of pair.html.
type PairView struct {
	Groups  []string // the code, to type
	Code    string   // the code, for the script
	Link    string   // of the app, with the code behind #
	QR      qrcode.Picture
	Until   time.Time
	Issuer  string
	Browser string // a name for this browser as a device
	Now     int64  // seconds, for the script: the clock of the machine may be wrong
}

// Standing is one line of the overview.
func (f *Factor) Standing(ctx context.Context, id account.ID) (factors.Standing, error) {
	o, err := f.owned(ctx, id)
	if err != nil {
		return factors.Standing{}, err
	}
	a, err := f.kit.Accounts.Account(ctx, id)
	if err != nil {
		return factors.Standing{}, err
	}
	s := factors.Standing{Possible: a.TwoFactor}
	if !a.TwoFactor {
		s.Why = "device.needs_two_factor"
	}
	if o.device.ID == "" {
		return s, nil
	}
	_, goes, err := f.leaving(ctx, o.device)
	if err != nil {
		return s, err
	}
	s.Since, s.Used, s.Name = o.device.CreatedAt, o.device.used(), o.device.Name
	switch {
	case o.device.State != active:
		s.Key, s.Warn = "device.line_blocked", true
	case !goes.IsZero():
		s.On, s.Key, s.Warn = true, "device.line_lost", true
	default:
		s.On, s.Key = true, "device.line"
	}
	return s, nil
}

// Manage shows the device.
func (f *Factor) Manage(ctx context.Context, try factors.Try) (factors.Page, error) {
	v, _, err := f.manage(ctx, try)
	return factors.Page{Data: v}, err
}

func (f *Factor) manage(ctx context.Context, try factors.Try) (v ManageView, o owned, err error) {
	if o, err = f.owned(ctx, try.Account); err != nil {
		return v, o, err
	}
	a, err := f.kit.Accounts.Account(ctx, try.Account)
	if err != nil {
		return v, o, err
	}
	d := o.device
	_, goes, err := f.leaving(ctx, d)
	if err != nil {
		return v, o, err
	}
	v = ManageView{
		On: d.ID != "", Blocked: d.ID != "" && d.State != active, Name: d.Name, Platform: d.Platform, Since: d.CreatedAt, Used: d.used(),
		Lost: !goes.IsZero(), Removal: goes, Unreachable: d.Gone, Possible: a.TwoFactor, Free: d.State != active || mayReplace(try.Proven),
	}
	if o.log.paused(f.now()) {
		v.Paused = second(o.log.Paused)
	}
	return v, o, nil
}

// mayReplace says whether a session that was proven like this may take the device away at once: with the device's own approval, a
// backup code, a key app, a security key, or a strong first factor. A code that came by the phone line is not enough, since a line
// can be taken over; such a removal is held back for a day. It is asked for a device that has a say only: one that is blocked withstands nobody,
// since codes go to the phone again, so that its owner, who may have nothing else, replaces it as if there were none.
func mayReplace(proven []factors.Proof) bool {
	for _, p := range proven {
		if p.Level == acr.High || p.Stage == factors.Second && p.Channel != factors.Phone {
			return true
		}
	}
	return false
}

var errHeld = fault.New(fault.Denied, "device.held")

// Act: "add" makes a pairing code, "remove" asks before "delete".
func (f *Factor) Act(ctx context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	if try.Account == "" {
		return factors.Result{}, fault.ErrNotFound
	}
	v, o, err := f.manage(ctx, try)
	if err != nil {
		return factors.Result{}, err
	}
	switch act {
	case "add":
		return f.pairPage(ctx, try, v, o)
	case "remove", "delete":
		switch {
		case !v.On:
			return factors.Result{}, fault.New(fault.Denied, "device.no_device")
		case !v.Free:
			return factors.Result{}, errHeld
		case act == "remove":
			return factors.Result{Template: "remove", Page: factors.Page{Data: v}}, nil
		}
		return factors.Result{
			Done: "device.removed", Event: audit.FactorRemoved, Details: map[string]string{"name": v.Name, "reason": "owner"},
			Commit: func(ctx context.Context) error { return f.forget(ctx, o.device) },
		}, nil
	}
	return factors.Result{}, fault.ErrNotFound
}

func (f *Factor) pairPage(ctx context.Context, try factors.Try, v ManageView, o owned) (factors.Result, error) {
	switch {
	case !v.Possible:
		return factors.Result{}, fault.New(fault.Denied, "device.needs_two_factor")
	case !v.Free:
		return factors.Result{}, errHeld
	}
	code, until, err := f.openPairing(ctx, try.Account, pairing{Replaces: o.device.ID, In: try.Binding})
	if err != nil {
		return factors.Result{}, err
	}
	p := PairView{Code: code, Link: "/app#pair=" + code, Until: until, Issuer: f.kit.Issuer, Browser: browser(try.Agent), Now: f.now().Unix()}
	for rest := code; rest != ""; rest = rest[min(4, len(rest)):] {
		p.Groups = append(p.Groups, rest[:min(4, len(rest))])
	}
	if p.QR, err = qrcode.Paint(f.kit.Issuer + p.Link); err != nil {
		return factors.Result{}, err
	}
	return factors.Result{Template: "pair", Page: factors.Page{Data: p}}, nil
}

// Registered names the person's device and says since when they have it; "" for none.
func (f *Factor) Registered(ctx context.Context, id account.ID) (string, time.Time, error) {
	o, err := f.owned(ctx, id)
	return o.device.ID, o.device.CreatedAt, err
}

// DropLost removes a device that was said to be lost, if it is still the person's: another one has taken its place perhaps, and stays. It
// runs inside a transaction.
func (f *Factor) DropLost(ctx context.Context, id account.ID, lost string) error {
	o, err := f.owned(ctx, id)
	if err != nil || lost == "" || o.device.ID != lost {
		return err
	}
	return f.remove(ctx, o.device, "lost", moment{})
}

// Drop forgets the device when two-factor authentication goes off (R176), and with it what waits and what was paired. The pairing codes come
// first: closing them waits for a device that is entered in this moment, which is seen then.
func (f *Factor) Drop(ctx context.Context, id account.ID) error {
	if err := f.closePairings(ctx, id); err != nil {
		return err
	}
	o, err := f.owned(ctx, id)
	if err != nil {
		return err
	}
	if o.log.ID != "" {
		if err := f.kit.Credentials.Delete(ctx, o.log.ID); err != nil {
			return err
		}
	}
	if o.device.ID == "" {
		return nil
	}
	return f.remove(ctx, o.device, "dropped", moment{})
}
