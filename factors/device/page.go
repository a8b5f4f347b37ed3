package device

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/qrcode"
)

// View is the data of page.html.
type View struct {
	Waiting  bool
	Approved bool
	End      string // catalogue key of why nothing waits any more; "" while something does
	Final    bool   // asking again makes no sense here
	Name     string // of the device
	Number   string
	Until    time.Time
	Scanned  bool
	Pushed   bool
	QR       qrcode.Picture
	// What the page's script needs to sign where this browser holds the key.
	Challenge string
	Device    string
	Issuer    string
}

// Begin makes the request of a sign-in, or shows how it stands. A reload asks for nothing again: only Again does.
func (f *Factor) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	o, err := f.owned(ctx, try.Account)
	if err != nil {
		return factors.Challenge{}, err
	}
	if o.device.State != active {
		return factors.Challenge{}, fault.New(fault.Denied, "device.none")
	}
	r, err := f.find(ctx, try)
	if errors.Is(err, fault.ErrNotFound) {
		r, err = f.ask(ctx, try, o, 0)
	}
	switch {
	case errors.Is(err, fault.ErrConflict):
		return f.ending(o, "device.used", false), nil
	case err != nil && fault.KindOf(err) == fault.Throttled:
		c := f.ending(o, "device.many", false)
		c.Page.Resend = f.now().Add(fault.Of(err).RetryAfter)
		return c, nil
	case err != nil && fault.KindOf(err) == fault.Denied:
		return f.ending(o, fault.Of(err).Key, true), nil
	case err != nil:
		return factors.Challenge{}, err
	}
	return f.show(o, r, try)
}

// alone says whether the browser that holds the key may confirm by itself: after the first factors that the app knows, which are the
// password and the mobile signature. After a bank or a card, whoever sits there approves as on any other device.
func alone(try factors.Try) bool {
	return try.First == "" || try.First == "password" || try.First == "mobilesign"
}

// ending is the page of a request that waits no more.
func (f *Factor) ending(o owned, why string, final bool) factors.Challenge {
	p := &factors.Page{Data: View{End: why, Final: final, Name: o.device.Name}}
	if !final {
		p.Resend = f.now()
	}
	return factors.Challenge{Page: p}
}

func (f *Factor) show(o owned, r request, try factors.Try) (factors.Challenge, error) {
	now := f.now()
	switch {
	case r.approved():
		return factors.Challenge{Page: &factors.Page{Data: View{Approved: true, Name: o.device.Name}}}, nil
	case r.Ended != "":
		return f.ending(o, whyOver(r.Ended).Key, r.Ended == endedNotMe), nil
	case r.over(now):
		return f.ending(o, "device.expired", false), nil
	}
	v := View{
		Waiting: true, Name: o.device.Name, Number: r.Number, Until: r.until(), Scanned: r.scanned(), Pushed: r.Pushed,
		Device: r.Device, Issuer: f.kit.Issuer,
	}
	if alone(try) {
		v.Challenge = r.Challenge
	}
	if !v.Scanned {
		var err error
		if v.QR, err = qrcode.Paint(f.kit.Issuer + "/app#scan=" + f.code(r, now)); err != nil {
			return factors.Challenge{}, err
		}
	}
	return factors.Challenge{Page: &factors.Page{Data: v}, Wait: refresh}, nil
}

// Over says whether there is an answer, or will never be one.
func (f *Factor) Over(ctx context.Context, try factors.Try) (bool, error) {
	r, err := f.find(ctx, try)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
		return true, nil
	}
	return err == nil && !r.waiting(f.now()), err
}

// Again asks the device once more, after the request before was answered or is over. Not in a browser that the person does not know.
func (f *Factor) Again(ctx context.Context, try factors.Try) error {
	o, err := f.owned(ctx, try.Account)
	if err != nil {
		return err
	}
	if o.device.State != active {
		return fault.New(fault.Denied, "device.none")
	}
	old, err := f.find(ctx, try)
	switch {
	case errors.Is(err, fault.ErrNotFound), errors.Is(err, fault.ErrConflict):
	case err != nil:
		return err
	case old.Ended == endedNotMe:
		return fault.New(fault.Denied, "device.not_me")
	case old.waiting(f.now()) || old.approved():
		return nil
	}
	_, err = f.ask(ctx, try, o, old.Sends)
	return err
}

// code is what the QR code of a request says now. It follows from the request and the clock, so that every replica draws the same,
// and cannot be guessed.
func (f *Factor) code(r request, now time.Time) string { return f.codeAt(r, slot(r, now)) }

func slot(r request, now time.Time) int64 { return int64(now.Sub(r.CreatedAt) / Image) }

func (f *Factor) codeAt(r request, slot int64) string {
	return b64.EncodeToString(f.kit.Phone.MAC(Name, "scan", r.ID, fmt.Sprint(slot))[:16])
}

// shows says whether code is that of the request now or in the image before: at most 60 s old.
func (f *Factor) shows(r request, code string, now time.Time) bool {
	is := func(n int64) bool {
		return n >= 0 && subtle.ConstantTimeCompare([]byte(code), []byte(f.codeAt(r, n))) == 1
	}
	n := slot(r, now)
	return is(n) || is(n-1)
}
