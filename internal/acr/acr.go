// Package acr owns the three levels of assurance and their names on the wire (OpenID Connect Core §2, claim acr).
// Enter with Parse or the constants. It refuses to guess: an unknown name is no level.
package acr

// Level is an authentication context class, ordered: None < Low < Substantial < High.
type Level uint8

const (
	None        Level = iota // nothing proven yet
	Low                      // one factor
	Substantial              // two factors of different kinds
	High                     // a key in a certified chip with its PIN and a state-vouched certificate
)

const prefix = "urn:kapi:loa:"

var names = [...]string{"", "low", "substantial", "high"}

// String is the value of the acr claim, e.g. "urn:kapi:loa:substantial"; "" for None.
func (l Level) String() string {
	if l == None || l > High {
		return ""
	}
	return prefix + names[l]
}

// Short is the word used in files and acr_values, e.g. "substantial".
func (l Level) Short() string {
	if l > High {
		return ""
	}
	return names[l]
}

// Parse reads a full name or a short word; ok is false for anything else.
func Parse(s string) (l Level, ok bool) {
	for i := Low; i <= High; i++ {
		if s == i.String() || s == i.Short() {
			return i, true
		}
	}
	return None, false
}

// ParseName reads a full name alone, as the acr claim has it.
func ParseName(s string) (l Level, ok bool) {
	l, ok = Parse(s)
	return l, ok && s == l.String()
}

// Weakest returns the weakest known value of a list, the minimum a request asks for with acr_values; None when no
// value is known, since unknown ones are ignored.
func Weakest(values []string) Level { return weakest(values, Parse) }

// WeakestName is Weakest of full names: a short word is unknown to it, as it is in a request for the acr claim, whose values are
// compared with the claim itself (OpenID Connect Core §5.5.1).
func WeakestName(values []string) Level { return weakest(values, ParseName) }

func weakest(values []string, parse func(string) (Level, bool)) Level {
	least := None
	for _, v := range values {
		if l, ok := parse(v); ok && (least == None || l < least) {
			least = l
		}
	}
	return least
}

// Upto lists the full names up to most, weakest first, for discovery.
func Upto(most Level) (out []string) {
	for l := Low; l <= min(most, High); l++ {
		out = append(out, l.String())
	}
	return out
}

func (l Level) MarshalText() ([]byte, error) { return []byte(l.Short()), nil }

// UnmarshalText accepts what Parse accepts, and the empty text for None.
func (l *Level) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*l = None
		return nil
	}
	v, ok := Parse(string(b))
	if !ok {
		return errUnknown(b)
	}
	*l = v
	return nil
}

type errUnknown string

func (e errUnknown) Error() string {
	return "unknown assurance level " + string(e) + ": low, substantial or high"
}
