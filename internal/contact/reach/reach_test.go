package reach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// world counts exactly, as the store does.
type world struct {
	throttle.Store
	phones map[account.ID]contact.Phone
	at     map[string][]time.Time
	now    time.Time
	up     string
	broken error
}

func (w *world) Contacts(_ context.Context, id account.ID) (contact.Contacts, error) {
	return contact.Contacts{Phone: w.phones[id]}, w.broken
}

func (w *world) Hit(_ context.Context, key string, ws []throttle.Window, now time.Time) (wait time.Duration, err error) {
	for _, win := range ws {
		in := slices.DeleteFunc(slices.Clone(w.at[key]), func(at time.Time) bool { return now.Sub(at) >= win.Per })
		if len(in) >= win.N {
			wait = max(wait, win.Per-now.Sub(in[0]))
		}
	}
	if wait == 0 {
		w.at[key] = append(w.at[key], now)
	}
	return wait, nil
}

func (w *world) Up(channel string) bool { return channel == w.up }

func verified(number string) contact.Phone {
	return contact.Phone{Number: number, Grade: contact.IDVerified}
}

func newWorld() (*world, *Messenger) {
	w := &world{phones: map[account.ID]contact.Phone{"ayse": verified("+905550000001")}, at: map[string][]time.Time{}, now: start}
	return w, &Messenger{Contacts: w, Throttle: w, Ring: secret.Ephemeral(), Channels: w, Now: func() time.Time { return w.now }}
}

func TestEnding(t *testing.T) {
	for _, tc := range []struct {
		phone contact.Phone
		want  string
		ok    bool
	}{
		{verified("+905550000001"), "01", true},
		{contact.Phone{Number: "+905550000001", Grade: contact.Verified}, "", false},
		{contact.Phone{Number: "+905550000001", Grade: contact.Declared}, "", false},
		{contact.Phone{}, "", false},
	} {
		w, m := newWorld()
		w.phones["x"] = tc.phone
		got, ok, err := m.Ending(t.Context(), "x")
		if err != nil || got != tc.want || ok != tc.ok {
			t.Errorf("%+v: %q %v %v", tc.phone, got, ok, err)
		}
		if err := m.Allow(t.Context(), "x", "192.0.2.1"); (err == nil) != tc.ok || len(w.at) != map[bool]int{true: 2, false: 0}[tc.ok] {
			t.Errorf("%+v: %v, counted %v", tc.phone, err, w.at)
		}
	}
	w, m := newWorld()
	w.phones[""] = verified("+905550000009")
	if _, ok, _ := m.Ending(t.Context(), ""); ok || m.Allow(t.Context(), "", "x") == nil {
		t.Error("nobody has a phone")
	}
	w.broken = errors.New("database away")
	if _, _, err := m.Ending(t.Context(), "ayse"); err == nil || m.Allow(t.Context(), "ayse", "x") == nil {
		t.Error("what cannot be read is no yes")
	}
}

// Row S2: new cookie, sign-in, service or network do not help; the number is counted.
func TestS2_LimitsOfTheNumber(t *testing.T) {
	w, m := newWorld()
	w.phones["twin"] = w.phones["ayse"] // another account with the same phone
	var sent []time.Duration
	for i := 0; w.now.Before(start.Add(24 * time.Hour)); i++ {
		who := []account.ID{"ayse", "twin"}[i%2]
		err := m.Allow(t.Context(), who, fmt.Sprintf("192.0.2.%d", i%250))
		switch f := fault.Of(err); {
		case err == nil:
			sent = append(sent, w.now.Sub(start))
		case f.Kind != fault.Throttled || f.RetryAfter <= 0:
			t.Fatal(err)
		}
		w.now = w.now.Add(5 * time.Second)
	}
	for _, l := range PerPerson {
		for i := range sent {
			if i+l.N < len(sent) && sent[i+l.N]-sent[i] < l.Per {
				t.Errorf("more than %d in %v: %v", l.N, l.Per, sent[i:i+l.N+1])
			}
		}
	}
	if len(sent) != 20 {
		t.Errorf("%d sends in a day, want 20", len(sent))
	}
}

func TestS2_LimitOfTheNetwork(t *testing.T) {
	w, m := newWorld()
	for i := range 30 {
		id := account.ID(fmt.Sprint("p", i))
		w.phones[id] = verified(fmt.Sprintf("+90555000%04d", i))
		err := m.Allow(t.Context(), id, "192.0.2.1")
		if (err == nil) != (i < 25) {
			t.Fatalf("person %d: %v", i, err)
		}
	}
	w, m = newWorld()
	for range 100 {
		_ = m.Allow(t.Context(), "ayse", "192.0.2.1")
	}
	if n := len(w.at["send:network:192.0.2.1"]); n != 2 {
		t.Fatalf("one person who asks a hundred times used up %d of the network's sends", n)
	}
}

func TestS2_CapsOfBlockAndCountry(t *testing.T) {
	for _, tc := range []struct {
		name   string
		number func(i int) string
		most   int
	}{
		{"block at home", func(i int) string { return fmt.Sprintf("+90555000%04d", i%10000) }, 3000},
		{"block abroad", func(i int) string { return fmt.Sprintf("+49151000%05d", i%10000) }, 100},
		{"country abroad", func(i int) string { return fmt.Sprintf("+49151%07d1", i) }, 500},
		{"all of home", func(i int) string { return fmt.Sprintf("+90555%03d%04d", i%1000, i/1000) }, 10_000},
	} {
		c := &Caps{}
		n, code := 0, country(tc.number(0))
		for i := range 10_000 {
			if c.hit(tc.number(i), code, start) == 0 {
				n++
			}
		}
		if n != tc.most {
			t.Errorf("%s: %d at once, want %d", tc.name, n, tc.most)
		}
		if wait := c.hit(tc.number(0), code, start); tc.most < 10_000 && (wait <= 0 || wait > time.Hour || c.hit(tc.number(0), code, start.Add(wait)) != 0) {
			t.Errorf("%s: told to wait %v", tc.name, wait)
		}
	}
	for number, want := range map[string]int{"+905550000001": 90, "+4915100000001": 49, "+12025550123": 1, "": 0} {
		if got := country(number); got != want {
			t.Errorf("country of %s is %d", number, got)
		}
	}
	w, m := newWorld()
	m.Caps.Block = throttle.Window{N: 1, Per: time.Hour}
	w.phones["x"] = verified("+905550000002")
	if err := m.Allow(t.Context(), "ayse", "a"); err != nil {
		t.Fatal(err)
	}
	if err := m.Allow(t.Context(), "x", "b"); fault.KindOf(err) != fault.Throttled {
		t.Fatalf("a neighbour beyond the cap: %v", err)
	}
}

// Row S2: what was not forecast is refused over all numbers together, at home and abroad; who gives no forecast has no such cap.
func TestS2_CapOfTheWhole(t *testing.T) {
	number := func(i int) string { return fmt.Sprintf("+9055%04d%04d", i, i) }
	c := &Caps{Whole: Budget(250)}
	for i := range 999 {
		if c.hit(number(i), 90, start) != 0 {
			t.Fatalf("the %d. of a thousand is refused", i+1)
		}
	}
	if c.hit("+491510000001", 49, start) != 0 {
		t.Fatal("the last one of a thousand, abroad, is refused")
	}
	for country, one := range map[int]string{90: number(1000), 49: "+491520000001"} {
		wait := c.hit(one, country, start)
		if wait <= 0 || wait > 24*time.Hour || c.hit(one, country, start.Add(wait)) != 0 {
			t.Errorf("%d: told to wait %v", country, wait)
		}
	}
	for _, forecast := range []int{0, -1} {
		c := &Caps{Whole: Budget(forecast)}
		for i := range 2000 {
			if c.hit(number(i), 90, start) != 0 {
				t.Fatalf("forecast %d: the %d. is refused", forecast, i+1)
			}
		}
	}
	w, m := newWorld()
	m.Caps.Whole = throttle.Window{N: 1, Per: time.Hour}
	w.phones["x"] = verified("+491510000002")
	if err := m.Allow(t.Context(), "ayse", "a"); err != nil {
		t.Fatal(err)
	}
	if err := m.Allow(t.Context(), "x", "b"); fault.KindOf(err) != fault.Throttled {
		t.Fatalf("beyond the cap of the whole: %v", err)
	}
}

func TestCapsAreBounded(t *testing.T) {
	c := &Caps{}
	for i := range mostKeys + 100 {
		c.hit(fmt.Sprintf("+90%06d0000", i), 90, start)
	}
	if len(c.next) > mostKeys {
		t.Fatalf("%d keys", len(c.next))
	}
	if c.hit("+909999990000", 90, start) == 0 {
		t.Fatal("a full table says yes")
	}
	if c.hit("+909999990000", 90, start.Add(time.Hour)) != 0 {
		t.Fatal("a full table does not empty itself")
	}
}

func TestNumbersAreNoKeys(t *testing.T) {
	w, m := newWorld()
	if err := m.Allow(t.Context(), "ayse", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	for key := range w.at {
		if strings.Contains(key, "5550000") {
			t.Errorf("key %s shows the number", key)
		}
	}
}

func TestUpAndMAC(t *testing.T) {
	w, m := newWorld()
	w.up = "sms"
	if !m.Up("sms") || m.Up("push") {
		t.Error("Up is not that of the channel")
	}
	once, twice := m.MAC("a"), m.MAC("a")
	if string(m.MAC("a", "bc")) == string(m.MAC("ab", "c")) || string(once) != string(twice) {
		t.Error("the parts run together, or equal inputs differ")
	}
}
