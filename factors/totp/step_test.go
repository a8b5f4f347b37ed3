package totp

import (
	"strings"
	"testing"
	"time"
)

// The test vectors of RFC 6238 appendix B, cut to the six digits that RFC 4226 takes from the same number.
func TestRFC6238(t *testing.T) {
	seed := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		found, ok, err := match(seed, want[2:], time.Unix(at, 0))
		if err != nil || !ok || found != at/period {
			t.Errorf("at %d: step %d, %v, %v", at, found, ok, err)
		}
	}
}

// Two neighbouring steps of this seed have one code: the later one is what is used up, or the code would be good again.
func TestMatchTakesTheNewestOfEqualCodes(t *testing.T) {
	const at = 910737
	seed := []byte("12345678901234567890")
	for _, now := range []int64{at, at + 1} {
		if found, ok, err := match(seed, "911617", moment(now)); found != at+1 || !ok || err != nil {
			t.Errorf("at %d: step %d, %v, %v", now, found, ok, err)
		}
	}
}

func TestNormalise(t *testing.T) {
	for typed, want := range map[string]string{
		"123456": "123456", " 123 456 ": "123456", "123-456": "123456", "１２３４５６": "123456", "١٢٣٤٥٦": "123456", "۱۲۳۴۵۶": "123456",
		"12345": "", "1234567": "", "12345a": "", "": "", strings.Repeat("1", 65): "", strings.Repeat(" ", 60) + "123456": "",
		"𝟎𝟏𝟐𝟑𝟒𝟓": "012345", "1.23456": "",
	} {
		if got, ok := normalise(typed); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", typed, got, ok, want)
		}
	}
}
