package signin

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

// macs makes keyed values without a ring.
type macs struct{ Keys }

func (macs) Known(parts ...string) []byte {
	b := sha256.Sum256([]byte("key\x00" + strings.Join(parts, "\x00")))
	return b[:]
}
func (m macs) CheckKnown(mac []byte, parts ...string) bool {
	return bytes.Equal(mac, m.Known(parts...))
}
func (macs) NewToken() (string, []byte) { return strings.Repeat("d", 43), nil }

var places = map[string]string{"192.0.2.1": "Ankara, Türkiye", "192.0.2.2": "İzmir, Türkiye", "198.51.100.1": "Berlin, Germany", "2001:db8::/64": "Germany"}

func TestKnownBrowser(t *testing.T) {
	place := func(network, _ string) string {
		if p := places[network]; p != "" {
			return p
		}
		return network
	}
	ayse, mehmet := account.Account{ID: "ayse"}, account.Account{ID: "mehmet"}
	type visit struct {
		who     account.Account
		network string
		news    string
		kept    bool // the cookie is right as it is
	}
	for name, visits := range map[string][]visit{
		"the same again":            {{ayse, "192.0.2.1", "browser", false}, {ayse, "192.0.2.1", "", true}},
		"another city":              {{ayse, "192.0.2.1", "browser", false}, {ayse, "192.0.2.2", "", true}},
		"another country, and back": {{ayse, "192.0.2.1", "browser", false}, {ayse, "198.51.100.1", "place", false}, {ayse, "2001:db8::/64", "", true}, {ayse, "192.0.2.1", "", true}},
		"nobody knows where":        {{ayse, "203.0.113.9", "browser", false}, {ayse, "203.0.113.8", "", true}, {ayse, "192.0.2.1", "", false}, {ayse, "198.51.100.1", "place", false}},
		"a family":                  {{ayse, "192.0.2.1", "browser", false}, {mehmet, "192.0.2.1", "browser", false}, {ayse, "192.0.2.1", "", true}, {mehmet, "198.51.100.1", "place", false}},
		"the password was changed":  {{ayse, "192.0.2.1", "browser", false}, {account.Account{ID: "ayse", ProofsSince: time.Unix(9, 0)}, "192.0.2.1", "browser", false}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Flow{Keys: macs{}, Place: place}
			cookie := ""
			for i, v := range visits {
				got := f.known(Visit{Known: cookie, Network: v.network}, v.who)
				if got.news != v.news || (got.cookie == "") != v.kept {
					t.Errorf("visit %d: %+v, want news %q", i+1, got, v.news)
				}
				if got.cookie != "" {
					cookie = got.cookie
				}
				if f.knownDevice(cookie, v.who) == "" {
					t.Errorf("visit %d: the cookie does not know %s", i+1, v.who.ID)
				}
				if len(cookie) > 512 {
					t.Errorf("a cookie of %d bytes", len(cookie))
				}
			}
		})
	}
	// Without places a browser is all there is to know; and a forged cookie knows nobody.
	f := &Flow{Keys: macs{}}
	cookie := f.known(Visit{Network: "192.0.2.1"}, ayse).cookie
	if got := f.known(Visit{Known: cookie, Network: "198.51.100.1"}, ayse); got != (known{}) {
		t.Errorf("%+v", got)
	}
	for _, forged := range []string{"", ".", "x", strings.Repeat("d", 22), strings.Repeat("d", 22) + ".", strings.Repeat("d", 22) + "..p.AAAA", cookie[:22] + "." + strings.Repeat("A", 43)} {
		if got := f.known(Visit{Known: forged}, ayse); got.news != "browser" || got.cookie == "" {
			t.Errorf("%q: %+v", forged, got)
		}
	}
	// Many people in one browser: the oldest are forgotten, and it stays a cookie.
	cookie = ""
	f.Place = place
	for i := range 40 {
		cookie = f.known(Visit{Known: cookie, Network: "192.0.2.1"}, account.Account{ID: account.ID(strings.Repeat("x", i+1))}).cookie
	}
	if device, marks := splitKnown(cookie); device == "" || len(marks) != mostMarks {
		t.Errorf("%d marks in %d bytes", len(marks), len(cookie))
	}
}
