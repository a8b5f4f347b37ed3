package account

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/fault"
)

func TestParseNationalID(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want NationalID
		key  string // of the fault; "" = none
	}{
		{"10000000146", "10000000146", ""},
		{"99000000110", "99000000110", ""},
		{"19090909018", "19090909018", ""}, // the bracket is negative: -29
		{" 100 000 001 46\t", "10000000146", ""},
		{"100-000-001-46", "10000000146", ""},
		{"１００００００００１４６", "", "national_id.form"}, // twelve digits
		{"１０００００００１４６", "10000000146", ""},
		{"١٠٠٠٠٠٠٠١٤٦", "10000000146", ""},
		{"۱۰۰۰۰۰۰۰۱۴۶", "10000000146", ""},
		{"\u200e10000000146\u200f", "10000000146", ""},
		{"10000000147", "", "national_id.checksum"},
		{"10000000156", "", "national_id.checksum"},
		{"00000000000", "", "national_id.checksum"},
		{"01000000146", "", "national_id.checksum"},
		{"1000000014", "", "national_id.form"},
		{"010000000146", "", "national_id.form"}, // a leading zero is no alias
		{"", "", "national_id.form"},
		{"1000000014x", "", "national_id.form"},
		{"+10000000146", "", "national_id.form"},
		{"10000000146\n", "", "national_id.form"},
		{"10000000146\x00", "", "national_id.form"},
		{strings.Repeat(" ", 300) + "10000000146", "", "national_id.form"},
	} {
		got, err := ParseNationalID(tc.in)
		var e *fault.Error
		switch {
		case tc.key == "" && (err != nil || got != tc.want):
			t.Errorf("%q: %q, %v; want %q", tc.in, got, err, tc.want)
		case tc.key != "" && (!errors.As(err, &e) || e.Key != tc.key || e.Kind != fault.Invalid || e.Field != "national_id" || got != ""):
			t.Errorf("%q: %q, %v; want %s", tc.in, got, err, tc.key)
		}
	}
}

// Exactly one pair of last digits fits any nine, and one wrong digit never passes.
func TestChecksum(t *testing.T) {
	for _, head := range []string{"100000001", "190909090", "999999999", "123456789", "505050505"} {
		var valid []string
		for last := range 100 {
			n := head + string(rune('0'+last/10)) + string(rune('0'+last%10))
			if checksum(n) {
				valid = append(valid, n)
			}
		}
		if len(valid) != 1 {
			t.Fatalf("%s: %v", head, valid)
		}
		if last := valid[0][10]; (last-'0')%2 != 0 {
			t.Errorf("%s ends odd", valid[0])
		}
		for i := range 11 {
			for d := byte('0'); d <= '9'; d++ {
				n := []byte(valid[0])
				if n[i] == d {
					continue
				}
				n[i] = d
				if checksum(string(n)) {
					t.Errorf("%s passes beside %s", n, valid[0])
				}
			}
		}
	}
}

func FuzzParseNationalID(f *testing.F) {
	for _, s := range []string{"10000000146", "１０００００００１４６", "١٠٠٠٠٠٠٠١٤٦", " 1-2", "190909090 18"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNationalID(s)
		if err != nil {
			if n != "" {
				t.Errorf("%q: an error and %q", s, n)
			}
			return
		}
		if len(n) != 11 || strings.Trim(string(n), "0123456789") != "" || n[0] == '0' {
			t.Errorf("%q became %q", s, n)
		}
		if again, err := ParseNationalID(string(n)); err != nil || again != n {
			t.Errorf("%q is not stable", n)
		}
	})
}

func TestPerson(t *testing.T) {
	for want, p := range map[string]Person{
		"Ayşe Yılmaz": {GivenName: "Ayşe", FamilyName: "Yılmaz"}, "Ayşe": {GivenName: "Ayşe"}, "Yılmaz": {FamilyName: "Yılmaz"}, "": {},
	} {
		if got := p.Name(); got != want {
			t.Errorf("%+v: %q; want %q", p, got, want)
		}
	}
	// The address claim has the names of OpenID Connect Core §5.1.1 and no empty members.
	b, err := json.Marshal(Address{Locality: "Ankara", Country: "TR"})
	if err != nil || string(b) != `{"locality":"Ankara","country":"TR"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestClosed(t *testing.T) {
	var c Closed
	check := func(factor string, shut, want bool) {
		t.Helper()
		if got := c.Has(factor, shut); got != want {
			t.Errorf("%q: %s closed %v, want %v", c, factor, got, want)
		}
	}
	check("password", false, false)
	check("banking", true, true) // closed until somebody opens it
	c = c.With("password", true).With("banking", false)
	check("password", false, true)
	check("banking", true, false)
	check("pass", false, false)
	c = c.With("password", true).With("password", false).With("banking", true)
	check("password", false, false)
	check("banking", true, true)
	if c != "+password banking" {
		t.Errorf("kept as %q", c)
	}
}
