package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"unicode"
)

const (
	codes  = 10 // in a set
	length = 16 // characters of a code, five bits each
	group  = 4
	few    = 2 // so many left deserve a warning
)

// alphabet is Crockford's base 32: no I, L, O or U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newCode is uniform over the 2^80 codes: 256 is a multiple of 32.
func newCode() string {
	var b [length]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return string(b[:])
}

// newCodes makes a set whose codes have labels of their own.
func newCodes(salt []byte) []string {
	taken := map[byte]bool{}
	var out []string
	for len(out) < codes {
		if c := newCode(); !taken[label(salt, c)] {
			taken[label(salt, c)] = true
			out = append(out, c)
		}
	}
	return out
}

// label tells which code of a set may be meant, and no more than one byte of it.
func label(salt []byte, code string) byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(code))
	return h.Sum(nil)[0]
}

// grouped is a code as it is shown.
func grouped(code string) string {
	var out []string
	for i := 0; i < len(code); i += group {
		out = append(out, code[i:i+group])
	}
	return strings.Join(out, "-")
}

// normalise reads a typed code: in either case, with spaces, dashes and invisible marks between, letters that look like digits
// read as those, and the Turkish letters that a keyboard makes of an i.
func normalise(typed string) (code string, ok bool) {
	if len(typed) > 128 {
		return "", false
	}
	var b strings.Builder
	for _, r := range typed {
		switch {
		case unicode.IsSpace(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Pd, r), r == '_', r == '.':
			continue
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case r >= 0xFF10 && r <= 0xFF5A: // full width
			r = unicode.ToUpper(r - 0xFEE0)
		case r == 'ı' || r == 'İ':
			r = 'I'
		}
		switch r {
		case 'I', 'L':
			r = '1'
		case 'O':
			r = '0'
		}
		if r > unicode.MaxASCII || !strings.ContainsRune(alphabet, r) {
			return "", false
		}
		b.WriteRune(r)
	}
	return b.String(), b.Len() == length
}
