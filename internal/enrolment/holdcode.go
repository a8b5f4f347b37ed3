package enrolment

import (
	"crypto/rand"
	"net/url"
	"strings"

	"github.com/kapi-id/kapi/internal/account"
)

func (h *Holds) codeMAC(id account.ID, code string) []byte { return h.MAC("hold", string(id), code) }

// holdLetters cannot be taken for one another: 30 of them, so that eight are 39 bits.
const holdLetters = "ABCDEFGHJKMNPQRSTVWXYZ23456789"

const holdCode = 8

func newHoldCode() string {
	var b strings.Builder
	for b.Len() < holdCode {
		var r [1]byte
		rand.Read(r[:])
		if n := int(r[0]); n < 256/len(holdLetters)*len(holdLetters) { // no letter is likelier than another
			b.WriteByte(holdLetters[n%len(holdLetters)])
		}
	}
	return b.String()
}

// HoldCode reads a code as people type it: small letters, spaces, dashes; "" for what is none.
func HoldCode(s string) string {
	if len(s) > 64 {
		return ""
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == 'ı' || r == 'İ':
			return ""
		case r >= 'a' && r <= 'z':
			r += 'A' - 'a'
		case r == ' ' || r == '-' || r == '\t':
			continue
		}
		if r > 'Z' || !strings.ContainsRune(holdLetters, r) {
			return ""
		}
		b.WriteRune(r)
	}
	if b.Len() != holdCode {
		return ""
	}
	return b.String()
}

// UndoLink is where a hold is undone: at the configured address, whatever a request said of its host.
func UndoLink(issuer, token string) string {
	return issuer + "/undo?" + url.Values{"link": {token}}.Encode()
}
