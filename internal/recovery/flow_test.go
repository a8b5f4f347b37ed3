package recovery_test

import (
	"github.com/kapi-id/kapi/internal/recovery"

	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/storage/storagetest"
)

func TestTheWholeWay(t *testing.T) {
	w := newWorld(t, sqlite)
	id := w.person.Account.ID
	s := storagetest.Session(t, w.db, id)
	open, err := w.db.Tickets("device").Open(t.Context(), factors.Ticket{Binding: "qr", Purpose: factors.SignIn, Account: id, Secret: []byte("x"), ExpiresAt: storagetest.Start.Add(time.Hour)}, nil)
	w.ok(err)
	x := w.atCode(w.person.Person.NationalID, details(), "0555 000 00 01", "")
	if m := w.out[0]; len(w.out) != 1 || m.To != hers || m.Channel != "sms" || strings.Contains(m.Text, "http") || m.Deadline.Sub(w.clock.Now()) != recovery.CodeLife {
		t.Fatalf("%+v", w.out)
	}
	x, err = w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")})
	w.ok(err)
	w.short = true
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "x"})
	w.fails(err, "password.rule.length")
	w.short = false
	x, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a new one"})
	w.ok(err)
	if x.State != recovery.Done || !slices.Equal(w.written, []string{string(id) + " a new one"}) || !slices.Equal(w.held, []account.ID{id}) {
		t.Errorf("%+v %v %v", x, w.written, w.held)
	}
	if all, _ := w.db.SessionsOf(t.Context(), id, w.clock.Now()); len(all) != 0 {
		t.Errorf("session %s lives", s.ID)
	}
	if a, _ := w.db.Account(t.Context(), id); !a.ProofsSince.Equal(w.clock.Now()) {
		t.Error("what was proven in parked sign-ins counts")
	}
	if err := w.db.Tickets("device").Use(t.Context(), open.ID); err == nil {
		t.Error("a pending request can be answered")
	}
	if last := w.told[len(w.told)-1]; last.Name != audit.RecoveryDone || last.Subject != string(id) || last.Details["by"] != "phone" {
		t.Errorf("%+v", last)
	}
	// Once: the page that was done says so, and does nothing.
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "another"})
	w.fails(err, "recovery.not_owed")
	again, err := w.flow.Load(t.Context(), x.ID, visit)
	w.ok(err)
	if step, _ := w.flow.Owed(t.Context(), again); step.Do != recovery.Finished {
		t.Errorf("%+v", step)
	}
}

func TestBothCodes(t *testing.T) {
	w := newWorld(t, sqlite)
	w.ok(w.db.ChangeContacts(t.Context(), w.person.Account.ID, func(c *contact.Contacts) error { c.ResetBoth = true; return nil }))
	n := w.person.Person.NationalID
	w.atCode(n, details(), hers, "")
	if len(w.out) != 0 {
		t.Fatal("the phone alone was enough")
	}
	w.clock.Advance(time.Hour)
	x := w.atCode(n, details(), hers, "AYSE@example.org")
	x, err := w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")})
	w.ok(err)
	if m := w.out[1]; m.Channel != "mail" || m.To != "AYSE@example.org" || strings.Contains(m.Text, "http") {
		t.Errorf("%+v", m)
	}
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "early"})
	w.fails(err, "recovery.not_owed")
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")}) // the other line's code
	if w.code("sms") != w.code("mail") {
		w.fails(err, "recovery.code.wrong")
	}
	x, err = w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("mail")})
	w.ok(err)
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a new one"})
	w.ok(err)
}

// RC1: at every step all others are refused, and what was taken before stays.
func TestRC1_StepsOutOfOrder(t *testing.T) {
	w := newWorld(t, sqlite)
	n := w.person.Person.NationalID
	takes := map[recovery.Do]func(context.Context, recovery.Transaction) error{
		recovery.AskIdentity: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Identify(ctx, x, visit, fields{"kind": "citizen", "national_id": string(n)})
			return err
		},
		recovery.AskDetails: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Detail(ctx, x, visit, details())
			return err
		},
		recovery.AskContact: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Contact(ctx, x, visit, fields{"phone": hers})
			return err
		},
		recovery.AskCode: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Answer(ctx, x, visit, fields{"code": "000000"})
			return err
		},
		recovery.AskPassword: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Renew(ctx, x, visit, fields{"new_password": "jumped"})
			return err
		},
		recovery.Stop: func(ctx context.Context, x recovery.Transaction) error {
			_, err := w.flow.Again(ctx, x, visit)
			return err
		},
	}
	begun, err := w.flow.Start(t.Context(), recovery.Forgot, "", visit)
	w.ok(err)
	who := w.begin(n)
	detailed, err := w.flow.Detail(t.Context(), w.begin(n), visit, details())
	w.ok(err)
	at := w.atCode(n, details(), hers, "")
	for do, x := range map[recovery.Do]recovery.Transaction{recovery.AskIdentity: begun, recovery.AskDetails: who, recovery.AskContact: detailed, recovery.AskCode: at} {
		for other, take := range takes {
			if other == do || do == recovery.AskCode && other == recovery.Stop {
				continue
			}
			if err := take(t.Context(), x); fault.Of(err).Key != "recovery.not_owed" {
				t.Errorf("at %d, step %d: %v", do, other, err)
			}
		}
	}
	if len(w.written) > 0 {
		t.Error("a password was written")
	}
	// Of another browser, with no cookie, or a made-up id.
	for _, v := range []recovery.Visit{{}, {Browser: []byte("other")}} {
		_, err := w.flow.Load(t.Context(), at.ID, v)
		w.fails(err, "recovery.other_browser")
	}
	_, err = w.flow.Load(t.Context(), "nothing", visit)
	w.fails(err, "recovery.expired")
	w.clock.Advance(recovery.Life)
	_, err = w.flow.Load(t.Context(), at.ID, visit)
	w.fails(err, "recovery.expired")
}

// RC1: a thousand guesses at the serial number, the right one among them, in as many recoveries: five are compared.
func TestRC1_ThousandGuessesAtTheSerial(t *testing.T) {
	w := newWorld(t, sqlite)
	begun := w.begin(w.person.Person.NationalID)
	t.Cleanup(recovery.WithoutNetworkLimit())
	var wg sync.WaitGroup
	places := make(chan struct{}, 10) // at once: more would only wait for the one writer of SQLite
	for i := range 1000 {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			x := begun
			x.ID = fmt.Sprint("t", i)
			v := visit
			v.Network = ""
			w.ok(w.db.CreateRecovery(t.Context(), x))
			x.Version = 1
			d := details()
			d["serial"] = fmt.Sprintf("A12B3%04d", i)
			if i == 777 {
				d["serial"] = serial
			}
			if _, err := w.flow.Detail(t.Context(), x, v, d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if compared, locked := w.tried("details", "ok")+w.tried("details", "wrong"), w.tried("details", "locked"); compared != 5 || locked != 995 {
		t.Errorf("%d compared, %d locked", compared, locked)
	}
	// The one who guesses in one and the same recovery ends it.
	x := begun
	for i := range recovery.MostTries + 1 {
		var err error
		if x, err = w.flow.Detail(t.Context(), x, visit, details()); err != nil {
			w.fails(err, "recovery.not_owed")
			if i != recovery.MostTries {
				t.Errorf("over after %d", i)
			}
			break
		}
		x, err = w.flow.Change(t.Context(), x, visit)
		w.ok(err)
		x, err = w.flow.Identify(t.Context(), x, visit, fields{"kind": "citizen", "national_id": string(w.person.Person.NationalID)})
		if err != nil {
			break
		}
	}
	if step, _ := w.flow.Owed(t.Context(), x); step.Do != recovery.Stop || step.Reason != recovery.StoppedTries {
		t.Errorf("%+v", step)
	}
}

// RC1: a thousand guesses at the code: five are compared, and sending again gives no more.
func TestRC1_ThousandGuessesAtTheCode(t *testing.T) {
	w := newWorld(t, sqlite)
	x := w.atCode(w.person.Person.NationalID, details(), hers, "")
	right := w.code("sms")
	var wg sync.WaitGroup
	var mu sync.Mutex
	keys := map[string]int{}
	places := make(chan struct{}, 10)
	for i := range 1000 {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			guess := fmt.Sprintf("%06d", i)
			if guess == right {
				guess = "999999"
			}
			_, err := w.flow.Answer(t.Context(), x, visit, fields{"code": guess})
			mu.Lock()
			defer mu.Unlock()
			keys[fault.Of(err).Key]++
		})
	}
	wg.Wait()
	if n := w.tried("phone", "wrong"); n != recovery.MostTries || keys["recovery.code.wrong"]+keys["recovery.code.spent"]+keys["recovery.code.locked"] != 1000 || keys["recovery.code.wrong"] != recovery.MostTries-1 {
		t.Errorf("%d compared, %v", n, keys)
	}
	w.clock.Advance(2 * time.Minute)
	_, err := w.flow.Again(t.Context(), x, visit)
	w.fails(err, "recovery.code.spent")
	w.clock.Advance(7 * time.Minute)
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": right})
	if err == nil {
		t.Error("the right one works after five wrong ones")
	}
}

func TestSendingAgain(t *testing.T) {
	w := newWorld(t, sqlite)
	x := w.atCode(w.person.Person.NationalID, details(), hers, "")
	first := w.code("sms")
	_, err := w.flow.Again(t.Context(), x, visit)
	w.fails(err, "recovery.wait")
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": different(first)})
	w.fails(err, "recovery.code.wrong")
	w.clock.Advance(recovery.FirstWait)
	until := x.CodeUntil
	x, err = w.flow.Again(t.Context(), x, visit)
	w.ok(err)
	second := w.code("sms")
	if len(w.out) != 2 || !x.CodeUntil.Equal(until) || !w.out[1].Deadline.Equal(until) {
		t.Errorf("%d sent, until %v", len(w.out), x.CodeUntil)
	}
	if first != second {
		_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": first})
		w.fails(err, "recovery.code.wrong")
		if f := fault.Of(err); f.Args["n"] != 3 {
			t.Errorf("%v tries left", f.Args)
		}
	}
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": second})
	w.ok(err)
	// Two answers at once, both right: one goes on.
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": second})
	w.fails(err, "recovery.not_owed")
}

func different(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestCodeExpires(t *testing.T) {
	w := newWorld(t, sqlite)
	x := w.atCode(w.person.Person.NationalID, details(), hers, "")
	w.clock.Advance(recovery.CodeLife)
	_, err := w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")})
	w.fails(err, "recovery.code.over")
	_, err = w.flow.Again(t.Context(), x, visit)
	w.fails(err, "recovery.code.over")
}

// RC5: the number is asked about before a code goes out, and again when it comes back.
func TestRC5_ChangedSIMCard(t *testing.T) {
	w := newWorld(t, sqlite)
	n := w.person.Person.NationalID
	w.trust = &factors.Hindrance{Reason: factors.SIMUnknown}
	w.atCode(n, details(), hers, "")
	if len(w.out) != 0 || w.tried("send", factors.SIMUnknown) != 1 {
		t.Errorf("%d sent to a number that nobody vouches for", len(w.out))
	}
	w.trust = nil
	w.clock.Advance(time.Hour)
	x := w.atCode(n, details(), hers, "")
	w.trust = &factors.Hindrance{Reason: factors.SIMChanged}
	x, err := w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")})
	w.ok(err)
	if step, _ := w.flow.Owed(t.Context(), x); step.Do != recovery.Stop || step.Reason != recovery.StoppedSIM {
		t.Errorf("%+v", step)
	}
	w.trust = nil
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "stolen"})
	w.fails(err, "recovery.not_owed")
}

// A stranger who guesses at an ID number, with the right phone, until everything rests, locks the browser that its owner signed in
// with out of nothing; the cookie of somebody else opens nothing, and the known browser has no more guesses than any.
func TestAStrangerCannotDenyRecovery(t *testing.T) {
	w := newWorld(t, sqlite)
	t.Cleanup(recovery.WithoutNetworkLimit())
	n := w.person.Person.NationalID
	her, other := visit, visit
	her.Known, other.Known = "knows "+string(w.person.Account.ID), "knows "+string(w.add(func(*enrolment.Record) {}).Account.ID)
	wrong := details()
	wrong["serial"] = "A12B30000"
	detail := func(v recovery.Visit, d fields) recovery.Transaction {
		t.Helper()
		x, err := w.flow.Detail(t.Context(), w.begin(n), v, d)
		w.ok(err)
		return x
	}
	for range 7 {
		x := detail(visit, wrong)
		w.flow.Contact(t.Context(), x, visit, fields{"phone": hers}) // its limit is reached on the way
		w.clock.Advance(15 * time.Second)
	}
	for range 12 { // the codes of a transaction that has none
		x := w.begin(n)
		x.Detailed, x.Phone, x.Sends, x.CodeUntil = true, "+905550000009", 1, w.clock.Now().Add(time.Minute)
		w.flow.Answer(t.Context(), x, visit, fields{"code": "000000"})
	}
	for name, v := range map[string]recovery.Visit{"a stranger": visit, "somebody else's cookie": other} {
		if x := detail(v, details()); x.Right {
			t.Errorf("%s is not locked", name)
		}
	}
	x := detail(her, details())
	if !x.Right {
		t.Fatal("the stranger locked the details of her browser")
	}
	x, err := w.flow.Contact(t.Context(), x, her, fields{"phone": hers})
	w.ok(err)
	if x.Account == "" {
		t.Fatal("the stranger locked the phone of her browser")
	}
	_, err = w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("sms")})
	w.fails(err, "recovery.code.locked") // the same transaction, counted as a browser that is not known
	w.clock.Advance(recovery.FirstWait)
	x, err = w.flow.Again(t.Context(), x, her)
	w.ok(err)
	x, err = w.flow.Answer(t.Context(), x, her, fields{"code": w.code("sms")})
	w.ok(err)
	for range 5 {
		detail(her, wrong)
	}
	if detail(her, details()).Right {
		t.Error("a known browser may guess for ever")
	}
	_, err = w.flow.Renew(t.Context(), x, her, fields{"new_password": "a new one"})
	w.ok(err)
	if !detail(her, details()).Right || !detail(visit, details()).Right {
		t.Error("a finished recovery does not clear the counts")
	}
}

// A stranger who types somebody's number a lot slows nothing but this page for it, and with another ID number not even that.
func TestLimits(t *testing.T) {
	w := newWorld(t, sqlite)
	var err error
	for i := range 7 { // what is counted is a phone for an ID number: counted alone, anybody could use up that of everybody
		x := w.begin(w.person.Person.NationalID)
		x, err = w.flow.Detail(t.Context(), x, visit, details())
		w.ok(err)
		if _, err = w.flow.Contact(t.Context(), x, visit, fields{"phone": hers}); err != nil {
			w.fails(err, "recovery.limit")
			if i != 2 {
				t.Errorf("after %d", i)
			}
			break
		}
	}
	if err == nil {
		t.Error("any number of codes")
	}
	other := w.atCode(w.add(func(*enrolment.Record) {}).Person.NationalID, details(), hers, "")
	if other.Account == "" {
		t.Error("another person with this phone is limited with them")
	}
	for range 60 {
		if _, err = w.flow.Start(t.Context(), recovery.Forgot, "", visit); err != nil {
			break
		}
	}
	w.fails(err, "recovery.network")
	for _, r := range []recovery.Reason{"", "x", recovery.NoSMS} {
		_, err = w.flow.Start(t.Context(), r, "", visit)
		w.fails(err, "recovery.reason.missing")
	}
}

func TestUnreadable(t *testing.T) {
	w := newWorld(t, sqlite)
	x, err := w.flow.Start(t.Context(), recovery.Forgot, "", visit)
	w.ok(err)
	for key, f := range map[string]fields{"recovery.kind.missing": {"kind": "foreigner", "national_id": "99000000110"}, "national_id.form": {"kind": "citizen"}, "national_id.checksum": {"kind": "citizen", "national_id": "10000000147"}} {
		_, err := w.flow.Identify(t.Context(), x, visit, f)
		w.fails(err, key)
	}
	x = w.begin(w.person.Person.NationalID)
	for key, change := range map[string][2]string{"recovery.birthdate.form": {"birthdate", "yesterday"}, "recovery.family.missing": {"family_name", " - "}, "recovery.document.missing": {"document", "library"}, "recovery.serial.form": {"serial", "?"}} {
		d := details()
		d[change[0]] = change[1]
		_, err := w.flow.Detail(t.Context(), x, visit, d)
		w.fails(err, key)
	}
	if n := w.tried("details", "wrong"); n != 0 {
		t.Errorf("%d slips were counted", n)
	}
	x, err = w.flow.Detail(t.Context(), x, visit, details())
	w.ok(err)
	for key, f := range map[string]fields{"recovery.phone.form": {"phone": "call me"}, "recovery.email.form": {"phone": hers, "email": "x\ny@z"}} {
		_, err := w.flow.Contact(t.Context(), x, visit, f)
		w.fails(err, key)
	}
}

// RC1: one wrong detail, and no code goes out, though every page goes on; both proofs are needed.
func TestRC1_OneProofIsNotEnough(t *testing.T) {
	w := newWorld(t, sqlite)
	for name, change := range map[string][2]string{"birthdate": {"birthdate", "24.04.1985"}, "name": {"family_name", "Kaya"}, "document": {"document", "passport"},
		"serial": {"serial", "A12B34568"}, "none": {"document", "none"}} {
		d := details()
		d[change[0]] = change[1]
		w.clock.Advance(time.Hour)
		n := w.add(func(*enrolment.Record) {}).Person.NationalID
		x := w.atCode(n, d, hers, "")
		if len(w.out) > 0 || x.Account != "" || x.Right {
			t.Errorf("%s: %d sent, %+v", name, len(w.out), x.Progress)
		}
		for _, guess := range []string{"000000", "123456"} {
			_, err := w.flow.Answer(t.Context(), x, visit, fields{"code": guess})
			w.fails(err, "recovery.code.wrong")
		}
	}
	w.clock.Advance(time.Hour)
	w.atCode(w.person.Person.NationalID, details(), "+905550000009", "")
	if len(w.out) > 0 {
		t.Error("a code went to a phone that is not the person's")
	}
	w.clock.Advance(time.Hour)
	w.atCode(w.person.Person.NationalID, details(), hers, "")
	if len(w.out) != 1 {
		t.Error("none went out where all is right")
	}
}

// What the browser does not wait for is waited for by the program that ends.
func TestWhatIsOnItsWayIsWaitedFor(t *testing.T) {
	w := newWorld(t, sqlite)
	w.flow.Later = nil
	for range 3 {
		w.out = nil
		w.atCode(w.person.Person.NationalID, details(), hers, "")
		w.flow.Wait()
		if len(w.out) != 1 {
			t.Fatalf("%d messages went out", len(w.out))
		}
		w.clock.Advance(16 * time.Minute)
	}
}
