package contact

import (
	"errors"
	"strings"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for in, want := range map[string]string{
		"+905550000001":       "+905550000001",
		"0555 000 00 01":      "+905550000001",
		"5550000001":          "+905550000001",
		"+90 (555) 000 00-01": "+905550000001",
		"0090 555 000 00 01":  "+905550000001",
		"+49 170 1234567":     "+491701234567",
		"+1 202 555 0123":     "+12025550123",
	} {
		if got, err := ParseNumber(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": ErrNumber, "x": ErrNumber, "+90": ErrNumber, "+900000000000": ErrNumber, "+90555000000": ErrNumber, "+9055500000011": ErrNumber,
		"+90555CALLME1": ErrNumber, "+905550000001;ext=5": ErrNumber, "tel:+905550000001": ErrNumber, "+905550000001\n": ErrNumber,
		strings.Repeat("5", 41): ErrNumber, "+90 312 123 45 67": ErrMobile,
	} {
		if got, err := ParseNumber(in); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v; want %v", in, got, err, want)
		}
	}
}

func FuzzParseNumber(f *testing.F) {
	f.Add("+905550000001")
	f.Add("0555 000 00 01")
	f.Add("+1 (202) 555-0123")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNumber(s)
		if err != nil {
			return
		}
		if n[0] != '+' || len(n) > 16 || strings.Trim(n[1:], "0123456789") != "" {
			t.Errorf("%q became %q", s, n)
		}
		if again, err := ParseNumber(n); err != nil || again != n {
			t.Errorf("%q became %q, which becomes %q, %v", s, n, again, err)
		}
	})
}

func TestEnding(t *testing.T) {
	if (Phone{Number: "+905550000042"}).Ending() != "42" || (Phone{}).Ending() != "" {
		t.Error("the ending is the last two digits")
	}
}
