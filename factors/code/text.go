package code

import (
	"context"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/kapi-id/kapi/factors"
)

const (
	digits   = 6
	mostText = 160 // characters of the GSM 7-bit alphabet in one message (3GPP TS 23.038 §4)
	mostCode = 64  // bytes of a typed code that are looked at
)

// Normalise reads a typed code: any script's digits, with spaces, hyphens and invisible marks between them, as keyboards and
// pasting leave them. ok is false unless exactly six digits remain.
func Normalise(s string) (code string, ok bool) {
	if len(s) > mostCode {
		return "", false
	}
	var b strings.Builder
	for _, r := range s {
		switch d, isDigit := digit(r); {
		case isDigit:
			b.WriteByte(d)
		case unicode.IsSpace(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Pd, r):
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == digits
}

// digit returns the ASCII digit of a decimal digit of any script. Unicode keeps ten and ten together, zero first.
func digit(r rune) (byte, bool) {
	if r >= '0' && r <= '9' {
		return byte(r), true
	}
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + byte((r-rune(t.Lo))%10), true
		}
	}
	return 0, false
}

// deed is the key of what a code is for where that is no sign-in; "" for one. Who is asked for a code "to sign in" must see that it
// would switch the second step off or give the device away.
func (f *Factor) deed(ctx context.Context, try factors.Try) (string, error) {
	switch try.Purpose {
	case factors.TwoFactor:
		a, err := f.kit.Accounts.Account(ctx, try.Account)
		if err != nil {
			return "", err
		}
		if a.TwoFactor {
			return "code.deed.two_factor_off", nil
		}
		return "code.deed.two_factor_on", nil
	case factors.Change, factors.Enrol, factors.Lost, factors.Recovery:
		return "code.deed." + string(try.Purpose), nil
	}
	return "", nil
}

// text is the message: the code first, so that it shows on a locked screen and phones offer to fill it in; the service's
// name, so that a relayed request is noticed, or the deed; no link; one message of the GSM alphabet whatever the name holds.
func (f *Factor) text(try factors.Try, deed, code string, left time.Duration) string {
	minutes := max(int((left+time.Minute/2)/time.Minute), 1)
	if deed != "" {
		return transliterate(f.words.Text(try.Lang, "code.text_deed", map[string]any{"code": code, "deed": f.words.Text(try.Lang, deed, nil), "n": minutes}))
	}
	service := plain(try.Service)
	if service == "" {
		service = plain(try.Origin)
	}
	build := func(service string) string {
		return transliterate(f.words.Text(try.Lang, "code.text", map[string]any{
			"code": code, "service": service, "n": minutes,
		}))
	}
	text := build(service)
	if over := len(text) - mostText; over > 0 {
		text = build(strings.TrimSpace(service[:max(len(service)-over, 0)]))
	}
	return text
}

// Plain writes a text with the letters of one short message on every phone.
func Plain(s string) string { return transliterate(s) }

// plain makes a name safe inside the text: ASCII without anything a phone would turn into a link, on one line.
func plain(name string) string {
	if len(name) > 1024 {
		name = name[:1024]
	}
	var b strings.Builder
	for _, r := range transliterate(name) {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune(" '()&+,!?-", r):
			b.WriteRune(r)
		default:
			b.WriteByte(' ') // "bank.example/a" reads "bank example a" and is no link
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Letters that do not fall apart into a base letter and a mark.
var letters = strings.NewReplacer(
	"ı", "i", "ß", "ss", "ø", "o", "Ø", "O", "æ", "ae", "Æ", "AE", "œ", "oe", "Œ", "OE", "đ", "d", "Đ", "D", "ð", "d", "Ð", "D",
	"þ", "th", "Þ", "Th", "ł", "l", "Ł", "L", "ə", "e", "Ə", "E", "’", "'", "‘", "'", "“", "'", "”", "'", "–", "-", "—", "-", "…", "...",
)

// transliterate maps Turkish and other Latin letters to ASCII; ASCII letters, digits and punctuation are the same in the GSM
// alphabet, so the text costs one message and reads the same on every phone. What has no Latin form becomes a space.
func transliterate(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(letters.Replace(s)) {
		switch {
		case unicode.Is(unicode.M, r):
		case r < ' ' || r > '~' || strings.ContainsRune("`^{}\\[]~|", r): // not in the basic table
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
