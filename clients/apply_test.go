package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

// register is a Store and Recorder in memory with a transaction that rolls back.
type register struct {
	clients map[string]Client
	events  []audit.Event
	saves   int
	fail    error // of the next Record
	retries int   // how often a transaction is run once more after it succeeded, as after a serialization failure
}

func (r *register) Client(_ context.Context, id string) (Client, error) {
	c, ok := r.clients[id]
	if !ok {
		return c, fault.ErrNotFound
	}
	c.Raw = bytes.ReplaceAll(c.Raw, []byte(","), []byte(", ")) // a database may keep JSON in its own form
	return c, nil
}

func (r *register) Clients(ctx context.Context) (out []Client, err error) {
	for _, id := range slices.Sorted(maps.Keys(r.clients)) {
		c, _ := r.Client(ctx, id)
		out = append(out, c)
	}
	return out, nil
}

func (r *register) SaveClient(_ context.Context, c Client) error {
	if r.clients[c.ID].Version != c.Version {
		return fault.ErrConflict
	}
	c.Version++
	r.saves++
	r.clients[c.ID] = c
	return nil
}

func (r *register) Record(_ context.Context, e audit.Event) error {
	if r.fail != nil {
		return r.fail
	}
	if e.Name.Version() == 0 {
		return fmt.Errorf("unregistered event %q", e.Name)
	}
	r.events = append(r.events, e)
	return nil
}

func (r *register) Atomically(ctx context.Context, fn func(context.Context) error) error {
	clients, events, saves := maps.Clone(r.clients), slices.Clone(r.events), r.saves
	for ; ; r.retries-- {
		err := fn(ctx)
		if err == nil && r.retries <= 0 {
			return nil
		}
		r.clients, r.events, r.saves = maps.Clone(clients), slices.Clone(events), saves
		if err != nil {
			return err
		}
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newRegistrar() (*register, Registrar, *secret.Ring) {
	store, ring := &register{clients: map[string]Client{}}, secret.Ephemeral()
	return store, Registrar{Store: store, Audit: store, Keys: ring, Actor: "cli"}, ring
}

func apply(t *testing.T, r Registrar, file string, now time.Time) (Report, string) {
	t.Helper()
	report, err := r.Apply(t.Context(), parse(t, file), now)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	report.WriteTo(&b)
	return report, b.String()
}

const two = `[{"client_id":"a","client_secret":"0123456789abcdef0123456789abcdef","redirect_uris":["https://a.example/cb"]},
	{"client_id":"b","redirect_uris":["https://b.example/cb"]}]`

func TestApply(t *testing.T) {
	store, r, ring := newRegistrar()
	store.retries = 1 // what the first attempt did must not stand twice in the report
	report, text := apply(t, r, two, noon)
	if len(report.Changes) != 2 || !report.Changes[0].Created || report.Changes[0].Secret != "" || len(report.Changes[1].Secret) != 43 {
		t.Fatalf("%+v", report)
	}
	made := report.Changes[1].Secret
	if strings.Contains(text, "0123456789abcdef") || strings.Count(text, made) != 1 || !strings.Contains(text, "a: created\nb: created\n  client_secret: "+made) {
		t.Errorf("printed %q", text)
	}
	for id, s := range map[string]string{"a": "0123456789abcdef0123456789abcdef", "b": made} {
		c := store.clients[id]
		if !c.CheckSecret(ring, s, noon) || c.CheckSecret(ring, s+"x", noon) || c.CheckSecret(ring, "", noon) {
			t.Errorf("secret of %s", id)
		}
		if strings.Contains(fmt.Sprintf("%+v %s", c, c.Raw), s) {
			t.Errorf("%s holds its secret in clear", id)
		}
	}
	if store.clients["a"].CheckSecret(ring, made, noon) {
		t.Error("a takes the secret of b")
	}
	if len(store.events) != 2 || store.events[1].Client != "b" || store.events[1].Actor != "cli" || store.events[1].Details["change"] != "created" {
		t.Errorf("events %+v", store.events)
	}

	// The second time nothing changes, nothing is written and nothing recorded.
	for range 2 {
		if _, text := apply(t, r, two, noon); text != "a: unchanged\nb: unchanged\n" {
			t.Errorf("again: %q", text)
		}
	}
	if store.saves != 2 || len(store.events) != 2 {
		t.Errorf("%d saves, %d events; want 2 of each", store.saves, len(store.events))
	}

	// One member changed: only that is told, and what the file leaves out is not deleted.
	_, text = apply(t, r, `[{"client_id":"b","redirect_uris":["https://b.example/cb","https://b.example/cb2"],"kapi_consent":"once"}]`, noon)
	want := "b: changed\n  redirect_uris: [\"https://b.example/cb\"] → [\"https://b.example/cb\",\"https://b.example/cb2\"]\n  kapi_consent: \"none\" → \"once\"\n"
	if text != want {
		t.Errorf("got  %q\nwant %q", text, want)
	}
	if len(store.clients) != 2 || !store.clients["b"].CheckSecret(ring, made, noon) || store.clients["b"].Consent != "once" {
		t.Error("a client or its secret was lost")
	}
	if e := store.events[len(store.events)-1]; e.Name != audit.ClientApplied || e.Details["members"] != "redirect_uris kapi_consent" {
		t.Errorf("event %+v", e)
	}
}

func TestApply_Secrets(t *testing.T) {
	store, r, ring := newRegistrar()
	apply(t, r, two, noon)
	file := func(s string) string {
		return `[{"client_id":"a","client_secret":"` + s + `","redirect_uris":["https://a.example/cb"]}]`
	}
	old, next := "0123456789abcdef0123456789abcdef", strings.Repeat("n", 32)
	_, text := apply(t, r, file(next), noon)
	if !strings.Contains(text, "a: changed\n  client_secret\n  note: the secret before this one works until 2026-03-02T12:00:00Z") || strings.Contains(text, next) {
		t.Errorf("printed %q", text)
	}
	works := func(s string, at time.Time) bool { return store.clients["a"].CheckSecret(ring, s, at) }
	if !works(next, noon) || !works(old, noon.Add(Grace-1)) || works(old, noon.Add(Grace)) || !works(next, noon.Add(Grace)) {
		t.Error("the old secret works 24 h beside the new one")
	}
	if e := store.events[len(store.events)-1]; e.Name != audit.ClientSecret || e.Client != "a" {
		t.Errorf("event %+v", e)
	}
	if _, text := apply(t, r, file(next), noon.Add(time.Hour)); text != "a: unchanged\n" {
		t.Errorf("again: %q", text)
	}
	if _, text := apply(t, r, `[{"client_id":"a","token_endpoint_auth_method":"none","redirect_uris":["https://a.example/cb"]}]`, noon); !strings.Contains(text, "the client secret is gone") {
		t.Errorf("printed %q", text)
	}
	if works(next, noon) {
		t.Error("a public client still has a secret")
	}
}

func TestApply_AllOrNothing(t *testing.T) {
	store, r, _ := newRegistrar()
	store.fail = errors.New("audit is down")
	if _, err := r.Apply(t.Context(), parse(t, two), noon); err == nil || len(store.clients) != 0 {
		t.Errorf("without a record: %v, %d clients", err, len(store.clients))
	}
	store.fail = nil
	apply(t, r, two, noon)
	before := maps.Clone(store.clients)
	bad := `[{"client_id":"new","redirect_uris":["https://new.example/cb"]},{"client_id":"a","redirect_uris":["https://other.example/cb"]}]`
	if _, err := r.Apply(t.Context(), parse(t, bad), noon); err == nil || !strings.Contains(err.Error(), "moving from a.example to other.example would give every person a new pairwise sub") {
		t.Errorf("a change of sector: %v", err)
	}
	if len(store.clients) != len(before) {
		t.Error("half a file was applied")
	}

	r.First, r.Second = []string{"password"}, []string{"sms"}
	misspelt := `[{"client_id":"a","redirect_uris":["https://a.example/cb"],"kapi_allowed_first":["pasword"],"kapi_refused_second":["sms"]}]`
	if _, err := r.Apply(t.Context(), parse(t, misspelt), noon); err == nil || err.Error() != `line 1, client "a", kapi_allowed_first: there is no factor "pasword"; use password` {
		t.Errorf("a misspelt factor: %v", err)
	}
}

func TestApply_SubjectType(t *testing.T) {
	store, r, _ := newRegistrar()
	apply(t, r, two, noon)
	_, text := apply(t, r, `[{"client_id":"b","subject_type":"public","redirect_uris":["https://b.example/cb","https://c.example/cb"]}]`, noon)
	if !strings.Contains(text, "note: subject_type changed") || store.clients["b"].Pairwise {
		t.Errorf("printed %q", text)
	}
}

func TestRotateSecret(t *testing.T) {
	store, r, ring := newRegistrar()
	apply(t, r, two, noon)
	old := "0123456789abcdef0123456789abcdef"
	works := func(s string, at time.Time) bool { return store.clients["a"].CheckSecret(ring, s, at) }
	first, until, err := r.RotateSecret(t.Context(), "a", noon, false)
	if err != nil || len(first) != 43 || !until.Equal(noon.Add(24*time.Hour)) {
		t.Fatal(err)
	}
	if !works(first, noon) || !works(old, until.Add(-1)) || works(old, until) {
		t.Error("the old one works for 24 h")
	}
	// Again within the day: the first one now ends too, the oldest keeps its own end.
	second, until2, err := r.RotateSecret(t.Context(), "a", noon.Add(time.Hour), false)
	if err != nil || !works(second, until2) || !works(first, until2.Add(-1)) || works(first, until2) || works(old, until) {
		t.Error("a second rotation", err)
	}
	third, until3, err := r.RotateSecret(t.Context(), "a", noon.Add(2*time.Hour), true)
	if err != nil || !until3.IsZero() || works(second, noon.Add(2*time.Hour)) || works(old, noon.Add(2*time.Hour)) || !works(third, noon.Add(999*time.Hour)) {
		t.Error("at once", err)
	}
	if e := store.events[len(store.events)-1]; e.Name != audit.ClientSecret || e.Details["at_once"] != "true" {
		t.Errorf("event %+v", e)
	}
	// The file still says a secret that was ended at once, and others may know: it stays ended.
	store.saves = 0
	now := noon.Add(3 * time.Hour)
	for range 2 {
		_, text := apply(t, r, strings.ReplaceAll(two, old, second), now)
		if !strings.HasPrefix(text, "a: unchanged\n  note: the client_secret of the file was ended at once") || works(second, now) || !works(third, now) || store.saves != 0 {
			t.Errorf("printed %q, saved %d", text, store.saves)
		}
	}
	// Nor does it come back by a change of another member, of the method there and back, or after further rotations.
	changed := strings.ReplaceAll(strings.ReplaceAll(two, old, second), "a.example/cb", "a.example/cb2")
	if _, text := apply(t, r, changed, now); !strings.Contains(text, "redirect_uris") || strings.Contains(text, "client_secret\n") || works(second, now) || !works(third, now) {
		t.Errorf("printed %q", text)
	}
	if _, _, err := r.RotateSecret(t.Context(), "a", now, false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(48 * time.Hour)
	if apply(t, r, changed, now); works(second, now) {
		t.Error("it came back after a rotation")
	}
	apply(t, r, `[{"client_id":"a","token_endpoint_auth_method":"none","redirect_uris":["https://a.example/cb"]}]`, now)
	if len(store.clients["a"].Secrets) == 0 || works(third, now) {
		t.Errorf("%+v", store.clients["a"].Secrets)
	}
	if _, err := r.Apply(t.Context(), parse(t, changed), now); err == nil || !strings.Contains(err.Error(), "is not taken again") {
		t.Errorf("the method there and back: %v", err)
	}
	// Another one in the file is taken.
	fresh := strings.Repeat("f", 40)
	if apply(t, r, strings.ReplaceAll(two, old, fresh), now); !works(fresh, now.Add(1000*time.Hour)) || works(second, now) {
		t.Error("a new secret of the file")
	}
	for _, atOnce := range []bool{true, false} {
		for range mostWithdrawn + 10 {
			if _, _, err := r.RotateSecret(t.Context(), "a", now, atOnce); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(store.clients["a"].Secrets); n != mostSecrets+mostWithdrawn {
		t.Errorf("%d secrets kept", n)
	}
	apply(t, r, `[{"client_id":"p","token_endpoint_auth_method":"none","redirect_uris":["https://p.example/cb"]}]`, noon)
	if _, _, err := r.RotateSecret(t.Context(), "p", noon, false); err == nil {
		t.Error("a public client got a secret")
	}
	for _, id := range []string{"", "nobody"} {
		if _, _, err := r.RotateSecret(t.Context(), id, noon, false); !errors.Is(err, fault.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestShow(t *testing.T) {
	store, r, _ := newRegistrar()
	apply(t, r, contract, noon)
	apply(t, r, two, noon)
	if _, _, err := r.RotateSecret(t.Context(), "b", noon, false); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	c, _ := store.Client(t.Context(), "rp-basic")
	if err := WriteShow(&shown, c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), "secret\"") || !strings.Contains(shown.String(), `"client_name#tr": "Örnek"`) {
		t.Errorf("shown %s", shown.String())
	}
	if _, text := apply(t, r, shown.String(), noon); text != "rp-basic: unchanged\n" {
		t.Errorf("what is shown, applied: %q", text)
	}
	var listed strings.Builder
	all, _ := store.Clients(t.Context())
	if err := WriteList(&listed, all, noon); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(listed.String(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[3], "rp-basic  Example  Example Institution  client_secret_basic") ||
		!strings.Contains(lines[2], "2 secrets until 2026-03-02T12:00:00Z") {
		t.Errorf("listed\n%s", listed.String())
	}
}

func TestClient(t *testing.T) {
	c := parse(t, contract)[0].Client
	if c.DisplayName("tr") != "Örnek" || c.DisplayName("en") != "Example" || c.Address() != "127.0.0.1:9000" || (Client{}).Address() != "" {
		t.Error("name or address")
	}
	c.MFARequiredFrom = noon
	if c.Least(noon.Add(-1)).Short() != "low" || c.Least(noon).Short() != "substantial" {
		t.Error("the cut-over date")
	}
	mac := func(parts ...string) string { return strings.Join(parts, "|") }
	if got := c.Subject(mac, "acc"); got != "pw_pairwise|127.0.0.1|acc" {
		t.Error(got)
	}
	c.Pairwise = false
	if got := c.Subject(mac, "acc"); got != "pb_public|acc" {
		t.Error(got)
	}
}
