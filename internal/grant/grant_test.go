package grant

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/kapi-id/kapi/internal/acr"
)

// Facts lie sealed in databases that outlive a release: what was written once must be read, and written, the same for ever.
func TestFactsAtRestStayReadable(t *testing.T) {
	const stored = `{"sub":"pw_00","scope":["openid","profile"],"claims":{"id_token":{"acr":{"essential":true}}},"acr":"substantial",` +
		`"amr":["pwd","sms","mca","mfa"],"steps":[{"m":"password","t":1770000000},{"m":"sms","t":1770000007}],"auth_time":1770000007,"nonce":"n"}`
	want := Facts{
		Subject: "pw_00", Scopes: []string{"openid", "profile"}, Claims: json.RawMessage(`{"id_token":{"acr":{"essential":true}}}`), ACR: acr.Substantial,
		AMR: []string{"pwd", "sms", "mca", "mfa"}, Steps: []Step{{"password", 1770000000}, {"sms", 1770000007}}, AuthTime: 1770000007, Nonce: "n",
	}
	var got Facts
	if err := json.Unmarshal([]byte(stored), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if again, err := json.Marshal(want); err != nil || string(again) != stored {
		t.Errorf("%s %v", again, err)
	}
	// A name is part of what is at rest: a member without one would change with the name of its field.
	for f := range reflect.TypeFor[Facts]().NumField() {
		if field := reflect.TypeFor[Facts]().Field(f); field.Tag.Get("json") == "" {
			t.Errorf("%s has no name at rest", field.Name)
		}
	}
}

// Whatever a sign-in reached comes back as it was: nothing is rounded, reordered or lost.
func TestFactsSurviveTheStore(t *testing.T) {
	same := func(subject, nonce string, scopes, amr []string, methods []string, at int64, level uint8) bool {
		in := Facts{Subject: clean(subject), Nonce: clean(nonce), ACR: acr.Level(level % 4), AuthTime: at, Scopes: []string{}, AMR: []string{}, Steps: []Step{}}
		for _, s := range scopes {
			in.Scopes = append(in.Scopes, clean(s))
		}
		for _, s := range amr {
			in.AMR = append(in.AMR, clean(s))
		}
		for _, s := range methods {
			in.Steps = append(in.Steps, Step{clean(s), at})
		}
		if at%2 == 0 {
			in.Claims = json.RawMessage(`{"userinfo":{"phone_number":null}}`)
		}
		b, err := json.Marshal(in)
		var out Facts
		return err == nil && json.Unmarshal(b, &out) == nil && reflect.DeepEqual(in, out)
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func clean(s string) string { return strings.ToValidUTF8(s, "") }

// The facts are written once: no method of the store but CreateGrant takes them, so no refresh can raise them.
func TestNoMethodRaisesAGrant(t *testing.T) {
	store := reflect.TypeFor[Store]()
	var facts func(t reflect.Type) bool
	facts = func(in reflect.Type) bool {
		switch in.Kind() {
		case reflect.Pointer, reflect.Slice:
			return facts(in.Elem())
		case reflect.Struct:
			for i := range in.NumField() {
				if facts(in.Field(i).Type) {
					return true
				}
			}
		}
		return in == reflect.TypeFor[Facts]() || in == reflect.TypeFor[acr.Level]()
	}
	writers := 0
	for i := range store.NumMethod() {
		m := store.Method(i)
		for j := range m.Type.NumIn() {
			if facts(m.Type.In(j)) {
				writers++
				if m.Name != "CreateGrant" {
					t.Errorf("%s takes facts of a sign-in", m.Name)
				}
			}
		}
	}
	if writers != 1 {
		t.Errorf("%d methods write facts", writers)
	}
}

// The times fit together: a lost answer is asked for again long before the family is idle, and a code is over before that.
func TestTimes(t *testing.T) {
	if !(0 < Grace && Grace < CodeLife && CodeLife <= time.Minute && CodeLife < RefreshIdle) {
		t.Error(Grace, CodeLife, RefreshIdle)
	}
}
