package signin

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/kapi-id/kapi/internal/account"
)

// The known-device cookie is an id and up to mostMarks MACs: one for each person who completed a sign-in with this browser, and,
// after placeMark, one for each country they did it from. It proves nothing to anybody: it only gives the browser a try counter of its
// own, and spares the person a notice. When the password is changed or all sessions of the person are ended, the cookies that
// were given out before know nobody any more.
const (
	mostMarks = 10
	placeMark = "p"
)

// known is what the cookie of a browser says of a person who just signed in there.
type known struct {
	cookie string // to be set; "" = leave it
	news   string // "browser" or "place" where that is new to the person; "" = nothing is
}

// known looks at the cookie alone, so that a usual sign-in costs no read. A country is new only to a browser that remembers
// another one: an installation that begins to know places tells nobody of them all at once.
func (f *Flow) known(v Visit, a account.Account) (out known) {
	device, marks := splitKnown(v.Known)
	if f.knownDevice(v.Known, a) == "" {
		out.news = "browser"
	}
	if device == "" {
		token, _ := f.Keys.NewToken()
		device, marks = token[:22], nil
	}
	var added []string
	if out.news != "" {
		added = append(added, f.mark(knownParts(device, a)))
	}
	if country := f.country(v); country != "" {
		of := []string{"place", device, string(a.ID), country}
		isPlace := func(m string) bool { return placed(m) != "" }
		if !slices.ContainsFunc(marks, func(m string) bool { return f.marks(placed(m), of) }) {
			if out.news == "" && slices.ContainsFunc(marks, isPlace) {
				out.news = "place"
			}
			added = append(added, placeMark+f.mark(of))
		}
	}
	if len(added) == 0 {
		return out
	}
	marks = append(added, marks...)
	out.cookie = device + "." + strings.Join(marks[:min(len(marks), mostMarks)], ".")
	return out
}

// Know returns the known-device cookie that the browser of a signed-in person should have, "" if it has it.
func (f *Flow) Know(ctx context.Context, id account.ID, v Visit) (string, error) {
	a, err := f.Accounts.Account(ctx, id)
	if err != nil {
		return "", err
	}
	return f.known(v, a).cookie, nil
}

// knownDevice returns the device's id if the cookie knows the account, else "".
func (f *Flow) knownDevice(cookie string, a account.Account) string {
	device, marks := splitKnown(cookie)
	if device == "" || a.ID == "" {
		return ""
	}
	for _, m := range marks {
		if f.marks(m, knownParts(device, a)) {
			return device
		}
	}
	return ""
}

// Knows is knownDevice for the other flows that count tries.
func (f *Flow) Knows(cookie string, a account.Account) string { return f.knownDevice(cookie, a) }

// country is where the visitor's network is, in English whatever is read, so that it compares; "" where nobody knows.
func (f *Flow) country(v Visit) string {
	if f.Place == nil || v.Network == "" {
		return ""
	}
	place := f.Place(v.Network, "en")
	if place == v.Network {
		return ""
	}
	return strings.TrimSpace(place[strings.LastIndexByte(place, ',')+1:])
}

func (f *Flow) mark(parts []string) string {
	return base64.RawURLEncoding.EncodeToString(f.Keys.Known(parts...))
}

func (f *Flow) marks(m string, parts []string) bool {
	b, err := base64.RawURLEncoding.DecodeString(m)
	return err == nil && len(b) > 0 && f.Keys.CheckKnown(b, parts...)
}

// placed is the MAC of a place; "" for that of a person. A MAC of 32 bytes has 43 characters.
func placed(m string) string {
	if len(m) != 44 || !strings.HasPrefix(m, placeMark) {
		return ""
	}
	return m[len(placeMark):]
}

func knownParts(device string, a account.Account) []string {
	return []string{"known", device, string(a.ID), strconv.FormatInt(a.ProofsSince.UnixMicro(), 10)}
}

func splitKnown(cookie string) (device string, marks []string) {
	parts := strings.Split(cookie, ".")
	if len(cookie) > 512 || len(parts[0]) != 22 {
		return "", nil
	}
	return parts[0], parts[1:min(len(parts), mostMarks+1)]
}
