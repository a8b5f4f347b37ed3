package password

import (
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/account"
)

func TestLentHashing(t *testing.T) {
	f := newBench(t, Options{})
	one, two := f.Lend("codes"), f.Lend("other")
	stored, err := one.Hash(t.Context(), "p1", "abc")
	if err != nil || !strings.HasPrefix(stored, "$argon2id$") {
		t.Fatalf("%s %v", stored, err)
	}
	for _, tc := range []struct {
		name       string
		by         Lent
		id, stored string
		secret     string
		want       bool
	}{
		{"its own", one, "p1", stored, "abc", true},
		{"another secret", one, "p1", stored, "abd", false},
		{"another account", one, "p2", stored, "abc", false},
		{"another purpose", two, "p1", stored, "abc", false},
		{"nothing stored", one, "p1", "", "abc", false},
	} {
		got, err := tc.by.Matches(t.Context(), account.ID(tc.id), tc.stored, tc.secret)
		if got != tc.want || err != nil {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
	if _, err := one.Matches(t.Context(), "p1", "$argon2id$secret", "abc"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a broken hash: %v", err)
	}
	// A password's hash opens no code, and the other way round.
	h, err := f.hasher.make("p1", "abc")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := one.Matches(t.Context(), "p1", h.String(), "abc"); ok || err != nil {
		t.Errorf("a password is a code: %v %v", ok, err)
	}
}
