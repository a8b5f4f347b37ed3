package device

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

// errTaken: a person has one device.
var errTaken = errors.New("device: the person has a registered device")

// pairing is what a pairing code stands for.
type pairing struct {
	Replaces string `json:"replaces,omitempty"` // the device that goes; "" = there was none
	In       string `json:"in,omitempty"`       // the session that made it, as factors.Try.Binding
}

// letters without I, L, O and U (Crockford): nobody reads one for another.
var letters = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

const pairingLength = 26 // letters, 128 bits

func newPairing() string {
	b := make([]byte, 16)
	rand.Read(b)
	return letters.EncodeToString(b)
}

// readPairing takes a code as people copy it.
func readPairing(s string) (string, bool) {
	if len(s) > 64 {
		return "", false
	}
	s = strings.NewReplacer(" ", "", "-", "", "I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(s))
	if len(s) != pairingLength {
		return "", false
	}
	_, err := letters.DecodeString(s)
	return s, err == nil
}

func (f *Factor) pairingBinding(code string) string {
	return pairingPrefix + base64.RawURLEncoding.EncodeToString(f.kit.Phone.MAC(Name, "pairing", code))
}

// openPairing makes a pairing code; those the person has are good no more.
func (f *Factor) openPairing(ctx context.Context, id account.ID, p pairing) (code string, until time.Time, err error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", until, err
	}
	code, until = newPairing(), f.now().Add(Pairing)
	err = f.kit.Atomically(ctx, func(ctx context.Context) error {
		if err := f.closePairings(ctx, id); err != nil {
			return err
		}
		_, err := f.kit.Tickets.Open(ctx, factors.Ticket{
			Binding: f.pairingBinding(code), Purpose: factors.Enrol, Account: id, Data: data, CreatedAt: f.now(), ExpiresAt: until,
		}, nil)
		return err
	})
	return code, until, err
}

func (f *Factor) closePairings(ctx context.Context, id account.ID) error {
	open, err := f.kit.Tickets.ListOpen(ctx, id)
	if err != nil {
		return err
	}
	for _, t := range open {
		if !strings.HasPrefix(t.Binding, pairingPrefix) {
			continue
		}
		if err := f.kit.Tickets.Use(ctx, t.ID); err != nil && !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	return nil
}

// registrations of a network: a pairing code cannot be guessed, but asking costs.
var registrations = []throttle.Window{{N: 20, Per: 10 * time.Minute}}

type registerBody struct {
	Pairing  string        `json:"pairing"`
	Name     string        `json:"name"`
	Platform string        `json:"platform"`
	Version  string        `json:"app_version"`
	Key      jwk           `json:"key"`
	Push     *Subscription `json:"push"`
	Proof    string        `json:"proof"`
}

type registeredView struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Issuer   string `json:"issuer"`
	Replaced bool   `json:"replaced"`
	Time     int64  `json:"server_time"`
}

// register makes whoever holds a pairing code and a key the registered device.
func (f *Factor) register(r *http.Request) (int, any, error) {
	platform, err := f.app(r)
	if err != nil {
		return 0, nil, err
	}
	ctx, m := r.Context(), momentOf(r)
	if m.network != "" {
		wait, err := f.kit.Limits.Hit(ctx, "register:"+m.network, registrations)
		if err != nil {
			return 0, nil, err
		}
		if wait > 0 {
			return 0, nil, fault.New(fault.Throttled, "").After(wait)
		}
	}
	body, err := read16k(r)
	if err != nil {
		return 0, nil, err
	}
	var in registerBody
	if err := parse(body, &in); err != nil {
		return 0, nil, err
	}
	rec, code, err := f.fit(in, platform)
	if err != nil {
		return 0, nil, err
	}
	d, replaced, err := f.enter(ctx, code, rec, m)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, registeredView{ID: d.ID, Name: d.Name, Issuer: f.kit.Issuer, Replaced: replaced, Time: f.now().Unix()}, nil
}

// fit checks what a registration says, and that the key is at hand.
func (f *Factor) fit(in registerBody, platform string) (rec record, code string, err error) {
	malformed := refuse(http.StatusBadRequest, "malformed")
	code, ok := readPairing(in.Pairing)
	if _, fine := parseVersion(in.Version); !ok || !fine || in.Platform != platform {
		return rec, "", malformed
	}
	key, err := in.Key.public()
	if err != nil {
		return rec, "", malformed
	}
	rec = record{Name: clean(in.Name, 60), Platform: in.Platform, Version: in.Version, Key: in.Key}
	if rec.Name == "" || !utf8.ValidString(in.Name) || utf8.RuneCountInString(in.Name) > 60 {
		return rec, "", malformed
	}
	if rec.Push, err = f.subscription(in.Push); err != nil {
		return rec, "", err
	}
	s, err := take(in.Proof, typeRegister, false)
	if err != nil {
		return rec, "", refuse(http.StatusUnauthorized, "unproven")
	}
	var claims registration
	if s.by(key, &claims) != nil || claims.Aud != f.kit.Issuer || claims.Pairing != in.Pairing {
		return rec, "", refuse(http.StatusUnauthorized, "unproven")
	}
	if !near(claims.Iat, f.now().Unix()) {
		return rec, "", refuse(http.StatusUnauthorized, "clock")
	}
	return rec, code, nil
}

// enter uses the code up and makes the device, in one transaction; of twenty at once one is in (row D7).
func (f *Factor) enter(ctx context.Context, code string, rec record, m moment) (d device, replaced bool, err error) {
	t, err := f.kit.Tickets.Find(ctx, f.pairingBinding(code), factors.Enrol)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
		return d, false, errUnknown
	}
	if err != nil {
		return d, false, err
	}
	a, err := f.kit.Accounts.Account(ctx, t.Account)
	if errors.Is(err, fault.ErrNotFound) || err == nil && a.State != account.Active {
		return d, false, errUnknown
	}
	if err != nil {
		return d, false, err
	}
	if !a.TwoFactor {
		return d, false, refuse(http.StatusForbidden, "two_factor")
	}
	var p pairing
	if err := strict(t.Data, &p); err != nil {
		return d, false, err
	}
	// Whoever ends the sessions of a person closes the codes too, but for one that was made in that moment.
	if p.In != "" && f.opts.Stands != nil {
		if yes, err := f.opts.Stands(ctx, p.In); err != nil || !yes {
			return d, false, cmp.Or(err, errUnknown)
		}
	}
	d.record = rec
	d.Credential = factors.Credential{ID: uuid.NewString(), Account: t.Account, Handle: deviceOf(t.Account), State: active}
	if d.Data, err = json.Marshal(rec); err != nil {
		return d, false, err
	}
	err = f.kit.Atomically(ctx, func(ctx context.Context) error {
		if err := f.kit.Tickets.Use(ctx, t.ID); err != nil {
			return gone(err)
		}
		o, err := f.owned(ctx, t.Account)
		if err != nil {
			return err
		}
		if replaced = o.device.ID != ""; replaced {
			if o.device.ID != p.Replaces {
				return errTaken
			}
			if err := f.remove(ctx, o.device, "replaced", m); err != nil {
				return err
			}
		}
		if _, err := f.kit.Credentials.Create(ctx, d.Credential); err != nil {
			if errors.Is(err, fault.ErrConflict) {
				return errTaken
			}
			return err
		}
		return f.record(ctx, m, audit.FactorSetUp, "ok", t.Account, map[string]string{"factor": Name, "name": rec.Name, "platform": rec.Platform})
	})
	return d, replaced, err
}

// gone says of a code that was used in this moment what is said of one that never was.
func gone(err error) error {
	if errors.Is(err, fault.ErrConflict) {
		return errUnknown
	}
	return err
}

// remove forgets a device: the next signature of its key fails on every replica, and what waits for it waits no more. It is recorded
// while the device is still there, so that the notice reaches it too.
func (f *Factor) remove(ctx context.Context, d device, reason string, m moment) error {
	if err := f.record(ctx, m, audit.FactorRemoved, "ok", d.Account, map[string]string{"factor": Name, "name": d.Name, "reason": reason}); err != nil {
		return err
	}
	return f.forget(ctx, d)
}

func (f *Factor) forget(ctx context.Context, d device) error {
	if err := f.endAll(ctx, d.Account, endedRemoved); err != nil {
		return err
	}
	return f.kit.Credentials.Delete(ctx, d.ID)
}

func (f *Factor) loopback() bool {
	u, err := url.Parse(f.kit.Issuer)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
