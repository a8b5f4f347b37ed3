package program_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// aliases of one ID number: whatever is typed counts for one person.
func aliases(n string) []string {
	wide, arabic := "", ""
	for _, c := range n {
		wide += string('０' + (c - '0'))
		arabic += string('٠' + (c - '0'))
	}
	return []string{n, n[:3] + " " + n[3:6] + " " + n[6:], wide, arabic, " " + n + " ", n[:5] + "-" + n[5:]}
}

func TestF1_PasswordGuessingInParallel(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Replicas: 2}, guessInParallel)
	t.Run("sqlite", func(t *testing.T) { guessInParallel(t, testkapi.Start(t, testkapi.Options{})) })
}

func guessInParallel(t *testing.T, k *testkapi.Kapi) {
	const tries, place = 200, 150
	var file []string
	for i := range rounds() {
		file = append(file, somebody(i, "the right one of all"))
	}
	k.People("[" + strings.Join(file, ",") + "]")
	rp := k.RP("ssi", nil)
	refused := 0
	for round := range rounds() {
		b := testkapi.NewBrowser(t)
		page := b.Open(rp.URL()).Target("national_id")
		spellings := aliases(number(round))
		k.Hashes.Store(0)
		var through atomic.Int64
		race(tries, func(i int) {
			guess := fmt.Sprintf("wrong number %d", i)
			if i == place {
				guess = "the right one of all"
			}
			r := send(t, b, http.MethodPost, page, url.Values{"national_id": {spellings[i%len(spellings)]}, "password": {guess}},
				"X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i), "X-Real-Ip", fmt.Sprintf("2001:db8::%d", i))
			if r.Status == http.StatusSeeOther {
				through.Add(1)
			}
		})
		if through.Load() > 0 {
			continue // the right one was among the first five; then it cleared the count, as it may
		}
		refused++
		if n := k.Hashes.Load(); n > 5 {
			t.Fatalf("round %d: %d passwords were compared", round, n)
		}
		// Inside the lock the right one reads like a wrong one, and costs no hash.
		k.Hashes.Store(0)
		if b.Submit(map[string]string{"national_id": number(round), "password": "the right one of all"}).See(wrongSignIn); k.Hashes.Load() != 0 {
			t.Fatal("a hash inside the lock")
		}
	}
	if refused < rounds()/2 { // five of two hundred are compared
		t.Errorf("the right one was let through in %d rounds of %d", rounds()-refused, rounds())
	}
}

func TestF1_TheLockEnds(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		for range 6 {
			signIn(k, b, mehmet, "not this one", "", 0)
			b.See(wrongSignIn)
		}
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		b.See(wrongSignIn)
		k.Clock.Add(61 * time.Second)
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)
		// A right answer forgets the failures: five more are free again.
		other := testkapi.NewBrowser(t)
		other.Open(rp.URL())
		for range 4 {
			signIn(k, other, mehmet, "not this one", "", 0)
		}
		signIn(k, other, mehmet, mehmetPassword, "", 0)
		rp.Answer(other)
	})
}

// F2: unknown, wrong, foreign, closed and locked look and work alike, to the last header.
func TestF2_NobodyCanBeFoundOut(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		db := owner(t, k)
		// others are in states of their own: the row of who came last is changed.
		others := map[string]string{
			"foreign": "state = state", "locked by the office": "state = 'locked_by_office'", "dead": "state = 'deceased'", "password closed": "closed_firsts = 'password'",
		}
		numbers := map[string]string{"foreign": "99000000110", "known": ayse, "unknown": number(7), "no phone": hasan, "locked": zeynep}
		for name, change := range others {
			kind := "foreigner"
			if name != "foreign" {
				numbers[name], kind = number(20+len(numbers)), "citizen"
			}
			k.Clock.Add(time.Second)
			k.People(fmt.Sprintf(`[{"national_id":%q,"kind":%q,"given_name":"Maria","family_name":"Silva","birthdate":"1988-03-17","password":"quiet-harbour-lamp-9","two_factor":true,
				"phone":%q,"phone_grade":"id_verified"}]`, numbers[name], kind, phoneOf(len(numbers))))
			if n := must(t, db, "UPDATE accounts SET "+change+" WHERE created_at = (SELECT MAX(created_at) FROM accounts)"); n != 1 {
				t.Fatalf("%s: %d accounts", name, n)
			}
		}
		for range 5 { // zeynep is locked from now on
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL())
			signIn(k, b, zeynep, "not this one", "", 0)
		}
		type work struct {
			status     int
			header     string
			body       string
			hashes     int64
			statements int64
		}
		seen := map[string]work{}
		for name, who := range numbers {
			b := testkapi.NewBrowser(t)
			page := b.Open(rp.URL()).Target("national_id")
			id := strings.Split(page, "/")[4]
			k.Hashes.Store(0)
			k.Paused.Store(0)
			before := k.Counter.Statements()
			r := send(t, b, http.MethodPost, page, url.Values{"national_id": {who}, "password": {"not this one"}})
			if k.Paused.Load() < int64(250*time.Millisecond) || k.Paused.Load() > int64(2400*time.Millisecond) {
				t.Errorf("%s: asked for a pause of %v", name, time.Duration(k.Paused.Load()))
			}
			mask := strings.NewReplacer(id, "ID", who, "NUMBER", r.Header.Get("X-Request-Id"), "REQUEST")
			r.Header.Del("Date")
			var header strings.Builder
			if err := r.Header.Write(&header); err != nil || r.Header.Get("Content-Security-Policy") == "" {
				t.Fatalf("%s: %v %v", name, err, r.Header)
			}
			seen[name] = work{r.Status, mask.Replace(header.String()), mask.Replace(r.Body), k.Hashes.Load(), k.Counter.Statements() - before}
		}
		for name, got := range seen {
			want := seen["known"]
			switch name {
			case "locked": // no hash inside a lock
				want.hashes, want.statements = 0, got.statements
			case "password closed": // its owner is told that somebody tried, within the least time of an answer
				want.statements += 3
			}
			if got != want {
				t.Errorf("%s differs from known: %+v\n%+v", name, got, want)
			}
		}
	})
}

// F3: a stranger who keeps guessing does not keep the owner out of a browser that is known.
func TestF3_LockingSomebodyOut(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, own := k.RP("ssi", nil), testkapi.NewBrowser(t)
		own.Open(rp.URL())
		signIn(k, own, ayse, aysePassword, aysePhone, 1)
		rp.Answer(own)
		stranger := testkapi.NewBrowser(t)
		for i := range 600 { // ten a minute, for an hour
			if i%250 == 0 {
				stranger.Open(rp.URL())
			}
			signIn(k, stranger, ayse, "guess", "", 0)
			k.Clock.Add(6 * time.Second)
		}
		sent := len(k.Phone.Inbox(aysePhone))
		if sent != 1 {
			t.Errorf("the stranger's tries sent %d messages", sent-1)
		}
		own.Open(rp.URL("prompt", "login"))
		signIn(k, own, ayse, aysePassword, aysePhone, sent+1)
		rp.Answer(own)
		// And it clears the lock for everybody.
		fresh := testkapi.NewBrowser(t)
		fresh.Open(rp.URL())
		signIn(k, fresh, ayse, aysePassword, aysePhone, sent+2)
		rp.Answer(fresh)
		// A cookie that was made up, or was given to another person, is no known device.
		for _, forged := range []string{strings.Repeat("x", 22) + ".AAAA", own.Cookie("kapi-known")} {
			thief := testkapi.NewBrowser(t)
			page := thief.Open(rp.URL()).URL
			thief.Client.Jar.SetCookies(page, []*http.Cookie{{Name: "kapi-known", Value: forged, Path: "/"}})
			k.Hashes.Store(0)
			for range 20 {
				signIn(k, thief, mehmet, "guess", "", 0)
			}
			if n := k.Hashes.Load(); n > 5 {
				t.Errorf("%d guesses with a forged device", n)
			}
			k.Clock.Add(time.Hour)
		}
	})
}

// A sign-in that was parked half way with the right password does not outlive "sign out everywhere".
func TestB1_ParkedSignIn(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{"kapi_consent": "always"})
		own, thief := testkapi.NewBrowser(t), testkapi.NewBrowser(t)
		thief.Open(rp.URL())
		signIn(k, thief, mehmet, mehmetPassword, "", 0)
		parked := thief.URL.String()
		k.Clock.Add(time.Minute)
		own.Open(k.URL + "/me")
		signIn(k, own, mehmet, mehmetPassword, "", 0)
		own.Open("/me/sessions")
		own.Open("/me/password").Submit(map[string]string{"password": mehmetPassword, "new_password": "uzun bir yol ve tren"})
		k.Clock.Add(time.Second)
		r := send(t, thief, http.MethodPost, parked, url.Values{"consent": {"yes"}})
		if strings.Contains(r.Location, "callback") || thief.Cookie("kapi-session") != "" {
			t.Fatalf("the parked sign-in went to %s", r.Location)
		}
		thief.Open(parked).See("Password")
		own.Open(k.URL + "/me").See("My account") // the owner's own session goes on
	})
}

// A lock reads the same whatever was typed, and after a hundred wrong answers an administrator lifts it.
func TestF1_DisabledAndUnlocked(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		page := b.Open(rp.URL()).Target("national_id")
		for range 100 {
			send(t, b, http.MethodPost, page, url.Values{"national_id": {mehmet}, "password": {"not this one"}})
			k.Clock.Add(time.Hour + time.Second)
			page = b.Open(rp.URL()).Target("national_id")
		}
		k.Clock.Add(48 * time.Hour)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		b.See(wrongSignIn)
		empty := send(t, b, http.MethodPost, b.Target("national_id"), url.Values{"national_id": {mehmet}, "password": {""}})
		other := send(t, b, http.MethodPost, b.Target("national_id"), url.Values{"national_id": {hasan}, "password": {""}})
		if empty.Status != other.Status || strings.Contains(empty.Body, wrongSignIn) != strings.Contains(other.Body, wrongSignIn) {
			t.Error("an empty password tells who is locked")
		}
		var out, errs bytes.Buffer
		for i, said := range []string{"unlocked\n", "nothing was locked\n"} {
			out.Reset()
			if status := program.Main([]string{"person", "unlock", mehmet}, environ(k), &out, &errs); status != 0 || out.String() != said {
				t.Fatalf("said %q %s", &out, &errs)
			}
			if n := one[int](t, owner(t, k), "SELECT (SELECT count(*) FROM audit_pending WHERE name = 'person.unlocked') + (SELECT count(*) FROM audit_log WHERE name = 'person.unlocked')"); n != 1 {
				t.Fatalf("%d records after %d commands", n, i+1)
			}
		}
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)
	})
}
