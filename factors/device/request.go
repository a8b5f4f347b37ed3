package device

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
)

// Challenge is what the device shows and signs. Its JSON is made once and kept: nothing is put together a second time.
type Challenge struct {
	Txn     string `json:"txn"`
	Nonce   string `json:"nonce"`
	Action  string `json:"action"`
	Service string `json:"service"`
	Origin  string `json:"origin"`
	Place   string `json:"place"`
	Browser string `json:"browser"`
	Time    int64  `json:"time"`
	Exp     int64  `json:"exp"`
}

// Secrets of a ticket: how far the request is. They are no secrets; only the conditional write that moves from one to the next
// matters.
var (
	scanned  = []byte("scanned")
	approved = []byte("approved")
	ended    = []byte("ended")
)

// Reasons for an end.
const (
	endedCancel   = "cancel"   // the device said no
	endedNotMe    = "not_me"   // and that nobody of its owner's asked
	endedNumber   = "number"   // the number was not the one on the screen
	endedReplaced = "replaced" // the same was asked again
	endedBlocked  = "blocked"  // the device is not trusted any more
	endedRemoved  = "removed"  // or is not registered any more
)

// memo is what of a request is sealed beside its state.
type memo struct {
	Txn       string `json:"txn"`
	Challenge string `json:"challenge"`
	Number    string `json:"number"` // on the screen of the browser
	Exp       int64  `json:"exp"`    // seconds
	Device    string `json:"device"` // that was asked
	Like      string `json:"like"`   // what is the same in requests that mean the same
	Browser   string `json:"browser"`
	Known     bool   `json:"known,omitempty"`
	Pushed    bool   `json:"pushed,omitempty"`
	Sends     int    `json:"sends"` // requests of this sign-in so far
	Ended     string `json:"ended,omitempty"`
	Door      string `json:"door,omitempty"` // by which it was approved
	Ctr       int64  `json:"ctr,omitempty"`  // under which number, at DoorHere
}

// request is a ticket of this factor that waits, or waited, for the device.
type request struct {
	factors.Ticket
	memo
}

func (r request) waiting(now time.Time) bool {
	return (len(r.Secret) == 0 || r.scanned()) && !r.over(now)
}
func (r request) scanned() bool           { return bytes.Equal(r.Secret, scanned) }
func (r request) approved() bool          { return bytes.Equal(r.Secret, approved) }
func (r request) over(now time.Time) bool { return now.Unix() >= r.Exp }
func (r request) until() time.Time        { return time.Unix(r.Exp, 0).UTC() }

// A ticket whose binding begins like this is a pairing code, and no request.
const pairingPrefix = "pair:"

func readRequest(t factors.Ticket) (request, error) {
	r := request{Ticket: t}
	if err := json.Unmarshal(t.Data, &r.memo); err != nil {
		return r, fmt.Errorf("device: ticket %s: %w", t.ID, err)
	}
	return r, nil
}

// find returns the request of a try; fault.ErrConflict if its answer was used, fault.ErrNotFound if there is none.
func (f *Factor) find(ctx context.Context, try factors.Try) (request, error) {
	if try.Account == "" || strings.HasPrefix(try.Binding, pairingPrefix) {
		return request{}, fault.ErrNotFound
	}
	t, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
	if err != nil {
		return request{}, err
	}
	if t.Account != try.Account {
		return request{}, fault.ErrNotFound
	}
	return readRequest(t)
}

// requests are all of a person that are remembered, newest first.
func (f *Factor) requests(ctx context.Context, id account.ID) ([]request, error) {
	tickets, err := f.kit.Tickets.ListOpen(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []request
	for _, t := range tickets {
		if strings.HasPrefix(t.Binding, pairingPrefix) {
			continue
		}
		r, err := readRequest(t)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// turn moves a request on; fault.ErrConflict if it has moved meanwhile.
func (f *Factor) turn(ctx context.Context, r request, to []byte, fn func(*memo)) error {
	fn(&r.memo)
	data, err := json.Marshal(r.memo)
	if err != nil {
		return err
	}
	return f.kit.Tickets.Turn(ctx, r.ID, r.Secret, to, data)
}

func (f *Factor) end(ctx context.Context, r request, why string) error {
	return f.turn(ctx, r, ended, func(m *memo) { m.Ended = why })
}

// endAll ends what waits, or was approved and not used yet. What moved meanwhile has its answer.
func (f *Factor) endAll(ctx context.Context, id account.ID, why string) error {
	all, err := f.requests(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range all {
		if !r.waiting(f.now()) && !r.approved() {
			continue
		}
		if err := f.end(ctx, r, why); err != nil && !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	return nil
}

// ask makes the request of a try, and pushes if that is right. sends counts those before it in the same sign-in.
func (f *Factor) ask(ctx context.Context, try factors.Try, o owned, sends int) (request, error) {
	now := f.now()
	if o.log.blocks(try, now) {
		return request{}, fault.New(fault.Denied, "device.browser_blocked")
	}
	before, err := f.requests(ctx, try.Account)
	if err != nil {
		return request{}, err
	}
	r, err := f.newRequest(try, o.device.ID, sends)
	if err != nil {
		return r, err
	}
	var same []request
	others, free := 0, now
	for _, b := range before {
		switch {
		case b.Binding == try.Binding || !b.waiting(now):
		case b.Like == r.Like && !b.scanned():
			same = append(same, b)
		case b.Known || !try.Known: // who only knows the password must not take the place of the owner at home (row D3)
			others, free = others+1, b.until()
		}
	}
	if others >= mostOpen {
		return r, fault.New(fault.Throttled, "device.many").After(max(free.Sub(now), time.Second))
	}
	if len(same) == 0 {
		if r.Pushed, err = f.mayPush(ctx, try, o.device); err != nil {
			return r, err
		}
	}
	if r.Data, err = json.Marshal(r.memo); err != nil {
		return r, err
	}
	kept := r.memo
	err = f.kit.Atomically(ctx, func(ctx context.Context) error {
		t, err := f.kit.Tickets.Open(ctx, r.Ticket, nil)
		if err != nil {
			return err
		}
		r.Ticket, r.memo = t, kept
		for _, s := range same { // of requests that mean the same the newest waits
			if err := f.end(ctx, s, endedReplaced); err != nil && !errors.Is(err, fault.ErrConflict) {
				return err
			}
		}
		return f.push(ctx, try, o, r)
	})
	if err != nil {
		return r, err
	}
	return r, f.trim(ctx, try, r)
}

// trim ends what is above mostOpen: of requests made at once none saw the others. Whoever looks last sees all of them, and all agree on
// which are the first.
func (f *Factor) trim(ctx context.Context, try factors.Try, r request) error {
	all, err := f.requests(ctx, try.Account)
	if err != nil {
		return err
	}
	now := f.now()
	all = slices.DeleteFunc(all, func(b request) bool { return !b.waiting(now) || try.Known && !b.Known })
	slices.SortFunc(all, func(a, b request) int { // the owner's own browsers come first
		if a.Known != b.Known {
			return map[bool]int{true: -1, false: 1}[a.Known]
		}
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	for i, b := range all {
		if i < mostOpen || b.Known != try.Known {
			continue
		}
		if err := f.end(ctx, b, endedReplaced); err != nil && !errors.Is(err, fault.ErrConflict) {
			return err
		}
		if b.ID == r.ID {
			return fault.New(fault.Throttled, "device.many").After(max(all[0].until().Sub(now), time.Second))
		}
	}
	return nil
}

func (f *Factor) newRequest(try factors.Try, device string, sends int) (request, error) {
	now := f.now()
	n, err := rand.Int(rand.Reader, big.NewInt(90))
	if err != nil {
		return request{}, fmt.Errorf("device: no randomness: %w", err)
	}
	c := Challenge{
		Txn: random(16), Nonce: random(32), Action: string(try.Purpose), Service: clean(try.Service, 80), Origin: clean(try.Origin, 80),
		Place: clean(try.Place, 80), Browser: browser(try.Agent), Time: now.Unix(), Exp: now.Add(Life).Unix(),
	}
	text, err := json.Marshal(c)
	if err != nil {
		return request{}, err
	}
	like := f.kit.Phone.MAC(Name, "like", c.Action, c.Service, try.Network, try.Agent)
	return request{
		Ticket: factors.Ticket{Binding: try.Binding, Purpose: try.Purpose, Account: try.Account, CreatedAt: now, ExpiresAt: now.Add(Memory)},
		memo: memo{
			Txn: c.Txn, Challenge: string(text), Number: n.Add(n, big.NewInt(10)).String(), Exp: c.Exp, Device: device,
			Like: base64.RawURLEncoding.EncodeToString(like[:16]), Browser: try.Browser, Known: try.Known, Sends: sends + 1,
		},
	}, nil
}

// browser names a browser as people know it; what nobody knows is shown as it is, cut short.
func browser(agent string) string {
	name, system := web.Browser(agent)
	switch {
	case name == "" && system == "":
		return clean(agent, 40)
	case name == "" || system == "":
		return name + system
	}
	return name + ", " + system
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// clean makes text fit for a line on a phone: no control, formatting or bidirectional characters, which could reorder the words
// around it, single spaces, at most most characters.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	runes := []rune(strings.Join(strings.Fields(s), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), most)]))
}
