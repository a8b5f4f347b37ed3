package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/backup"
	"github.com/kapi-id/kapi/factors/totp"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/sim/phone"
)

// demoTries says what to try as each person, by ID number.
var demoTries = map[string]string{
	"10000000146":       "two-factor on: a code by SMS; forget the password (ID card A12B34567, born 23.04.1985)",
	"20000000282":       "two-factor off: switch it on, or open a page that needs it; add a passkey",
	"30000000328":       "temporary password from an office: it must be changed",
	"40000000464":       "no phone: what is offered then",
	"50000000500":       "phone declared, not proven: it gets no codes",
	string(demoSwapped): "SIM card changed: no codes, until you open the number again by e-mail",
	"70000000782":       "codes by BiP",
	"80000000828":       "codes by SIM message",
	"11000000136":       "register a device: sign in at the phone app, then approve the portal's sign-ins there",
	demoKeyApp:          "codes of a key app: it is on the phone's page",
	demoBackup:          "backup codes: choose another way at the second step",
	"99000000110":       "foreigner, two-factor on",
}

// People who have set something up themselves.
const (
	demoKeyApp = "12000000126"
	demoBackup = "13000000116"
)

// demoOwn is what people of the demo hold. It is kept beside the database, since Kapi stores no backup code as it is.
type demoOwn struct {
	Key   string   `json:"key"` // of the key app, base32
	Codes []string `json:"backup_codes"`
}

// setUp sets up a key app and backup codes as their owners would on the pages of security; the phone gets the key. A second start on
// the same data finds them.
func (a *App) setUp(ctx context.Context, p *phone.Phone, file string) (own demoOwn, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &own)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return own, err
	}
	before := fmt.Sprint(own)
	if err := a.forDemo(ctx, "totp", demoKeyApp, func(f factors.Enroller, try factors.Try) (r factors.Result, err error) {
		own.Key, r, err = demoKey(ctx, f, try, a.now())
		return r, err
	}); err != nil {
		return own, err
	}
	if err := a.forDemo(ctx, "backup", demoBackup, func(f factors.Enroller, try factors.Try) (factors.Result, error) {
		r, err := f.Act(ctx, try, "make", factors.Answer{"set": {""}})
		if v, ok := r.Page.Data.(backup.CodesView); ok {
			own.Codes = v.Codes
		}
		return r, err
	}); err != nil {
		return own, err
	}
	if own.Key != "" {
		if err := p.AddKey("Deniz", own.Key); err != nil {
			return own, err
		}
	}
	if fmt.Sprint(own) == before {
		return own, nil
	}
	if b, err = json.Marshal(own); err != nil {
		return own, err
	}
	return own, os.WriteFile(file, b, 0o600)
}

// demoKey walks through the set-up of a key app: begin, read the key, confirm with a code.
func demoKey(ctx context.Context, f factors.Enroller, try factors.Try, now time.Time) (key string, r factors.Result, err error) {
	if _, err := f.Act(ctx, try, "begin", nil); err != nil {
		return "", r, err
	}
	page, err := f.Manage(ctx, try)
	if err != nil {
		return "", r, err
	}
	view, ok := page.Data.(totp.ManageView)
	if !ok || view.Setup == nil {
		return "", r, errors.New("demo: the key app shows no key")
	}
	key = strings.Join(view.Setup.Groups, "")
	// The code before the present one, which is still good: else a newcomer who is quick would meet a code that was used.
	code, err := phone.Code(key, now.Add(-30*time.Second))
	if err != nil {
		return "", r, err
	}
	r, err = f.Act(ctx, try, "confirm", factors.Answer{"code": {code}})
	return key, r, err
}

// forDemo does what the page of a factor does for a person who has not set it up.
func (a *App) forDemo(ctx context.Context, factor, number string, act func(factors.Enroller, factors.Try) (factors.Result, error)) error {
	who, err := a.db.AccountByNationalID(ctx, account.NationalID(number))
	if err != nil {
		return err
	}
	f, ok := a.Flow.Factors.Get(factor).(factors.Enroller)
	if !ok {
		return fmt.Errorf("demo: nobody sets %s up", factor)
	}
	if s, err := f.Standing(ctx, who.ID); err != nil || s.On {
		return err
	}
	r, err := act(f, factors.Try{Binding: "demo", Purpose: factors.Enrol, Account: who.ID, Lang: "tr", Origin: "localhost"})
	if err != nil {
		return err
	}
	return a.db.Atomically(ctx, func(ctx context.Context) error {
		if err := r.Commit(ctx); err != nil {
			return err
		}
		// Not told to anybody: the phone is to be empty when a newcomer looks at it first.
		return a.db.Record(ctx, audit.Event{At: a.now(), Name: r.Event, Outcome: "ok", Actor: "demo", Subject: string(who.ID), Details: map[string]string{"factor": factor}})
	})
}
