package totp

import (
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// What every key app can do without being asked (RFC 6238 §5.2).
const (
	period   = 30 // seconds of a step
	skew     = 1  // steps before and after the present one whose codes count: clocks of phones go wrong
	seedSize = 20 // bytes, 160 bits as RFC 4226 §4 R6 asks
)

var options = hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}

// step is the number of the period that t lies in.
func step(t time.Time) int64 { return t.Unix() / period }

// moment is when a step begins.
func moment(step int64) time.Time { return time.Unix(step*period, 0).UTC() }

var base32Plain = base32.StdEncoding.WithPadding(base32.NoPadding)

// match finds the newest step around now whose code it is. It computes every code, whichever is right.
func match(seed []byte, code string, now time.Time) (found int64, ok bool, err error) {
	typed := base32Plain.EncodeToString(seed)
	for at := step(now) - skew; at <= step(now)+skew; at++ {
		want, err := hotp.GenerateCodeCustom(typed, uint64(at), options)
		if err != nil {
			return 0, false, fmt.Errorf("totp: no code can be computed: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found, ok = at, true
		}
	}
	return found, ok, nil
}

// normalise reads a typed code: any script's digits, with spaces, hyphens and invisible marks between them, as keyboards and
// pasting leave them. ok is false unless exactly six digits remain.
func normalise(typed string) (code string, ok bool) {
	if len(typed) > 64 {
		return "", false
	}
	var b strings.Builder
	for _, r := range typed {
		switch {
		case unicode.Is(unicode.Nd, r):
			b.WriteByte('0' + digit(r))
		case unicode.IsSpace(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Pd, r):
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == 6
}

// digit is the value of a decimal digit of any script. Unicode keeps ten and ten together, zero first.
func digit(r rune) byte {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10)
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return byte((r - rune(t.Lo)) % 10)
		}
	}
	return 0
}
