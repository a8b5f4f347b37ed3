package password

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/words"
)

var born1985 = PersonOf(account.Person{NationalID: "10000000146", GivenName: "Ayşe Işıl", FamilyName: "Yılmaz", Birthdate: "1985-04-23"},
	"+905550000001", "a.yilmaz85@example.org")

func TestProfiles(t *testing.T) {
	tests := []struct {
		profile  Profile
		two      bool
		password string
		broken   string // names, space between
	}{
		{NIST, false, "yağmurlu bir salı sabahı", ""},
		{NIST, false, "ağustosböceğiyim", ""},                                         // 16
		{NIST, false, "böceklerbirgün", "length"},                                     // 14
		{NIST, false, "böceklerbirgünü", ""},                                          // 15
		{NIST, false, strings.ReplaceAll("böceklerbirgün", "ü", "u\u0308"), "length"}, // NFC counts 14
		{NIST, true, "xK7 pqr", "length"},
		{NIST, true, "xK7 pqrt", ""},
		{NIST, false, strings.Repeat("uzun bir cümle kurdum ", 40), ""},
		{NIST, true, "Password", "common"},
		{NIST, true, "ŞİFRE1234", "common"},
		{NIST, true, "SIFRE1234", "common"},
		{NIST, true, "şıfre.2024", "common"},
		{NIST, false, "Galatasaray1905", "common"},
		{NIST, false, "GALATASARAY-1905!", "common"},
		{NIST, false, "passwordpassword", "common"},
		{NIST, false, "asdasdasdasdasd", "common"},
		{NIST, false, "asdasdasdasdasda", "common"},
		{NIST, false, "123456789012345", "common"},
		{NIST, false, "987654321098765", "common"},
		{NIST, false, "aaaaaaaaaaaaaaaa", "common"},
		{NIST, false, "qwertyuiopğüasdf", ""}, // long enough that no list has it
		{NIST, true, "qwertyuiop", "common"},
		{NIST, true, "fgğıodrn", "common"}, // the Turkish F keyboard
		{NIST, true, "1qaz2wsx", "common"},
		{NIST, true, "23041985", "common personal"},
		{NIST, true, "01.05.1923", "common"},
		{NIST, true, "ankara-ankara", "common"},
		{NIST, true, "10000000146", "personal"},
		{NIST, true, "benim 1000 0000 146", "personal"},
		{NIST, true, "doğum yılım 1985", "personal"},
		{NIST, true, "on230485numara", "personal"},
		{NIST, true, "YILMAZ ailesi!", "personal"},
		{NIST, true, "yilmazlar burada", "personal"},
		{NIST, true, "AYŞENİN sesi", "personal"},
		{NIST, true, "aysenin sesi", "personal"},
		{NIST, true, "ISIL ışıl parla", "personal"},
		{NIST, true, "ara: 555 000 00 01", "personal"},
		{NIST, true, "e-kapi'ya gel", "personal"},
		{NIST, true, "KAPIYI çalan kim", "personal"},
		{NIST, true, "vizite girişi", "personal"},
		{NIST, true, "#$%&/()=?*-", ""},
		{NIST, true, "🐢🐢🦊🦉🐝🦋🐳🐙", ""},

		{Gateway, true, "Kum7-saat", ""},
		{Gateway, false, "Kum7-sa", "length"},
		{Gateway, false, "kum7-saat", "upper"},
		{Gateway, false, "KUM7-SAAT", "lower"},
		{Gateway, false, "Kumm-saat", "digit"},
		{Gateway, false, "Kum7saatt", "symbol"},
		{Gateway, false, "Kum7 saat", ""},
		{Gateway, false, "Kum-1985x", "birth_year"},
		{Gateway, false, "Ku-10000000146", "id_number"},
		{Gateway, false, "Ankara.2024", "common"},
		{Gateway, false, "Yılmaz-ailesi-7", ""}, // names are no rule there

		{GatewayOlder, true, "kumsaat7", ""},
		{GatewayOlder, true, "kumsaatx", "mixed"},
		{GatewayOlder, true, "48103759", "mixed"},
		{GatewayOlder, true, "kums4", "length"},
		{GatewayOlder, true, "kum23041985", "birth_date"},
		{GatewayOlder, true, "kum1985saat", ""}, // the year alone is no rule there
		{GatewayOlder, true, "x10000000146", "id_number"},
	}
	who := born1985
	who.Services = []string{"SSI e-Vizite", "SGK e-Vizite"}
	for _, tt := range tests {
		var got []string
		for _, r := range tt.profile.Broken(tt.password, who, tt.two) {
			got = append(got, r.Name)
		}
		if strings.Join(got, " ") != tt.broken {
			t.Errorf("%s, two-factor %v: %q breaks %q, want %q", tt.profile.Name, tt.two, tt.password, got, tt.broken)
		}
	}
}

// Somebody with empty fields, such as a foreigner without a phone, must not find every password refused.
func TestRulesWithoutPersonalData(t *testing.T) {
	for _, who := range []Person{{}, {GivenName: "Ö", FamilyName: "-", Phone: "+", Email: "@", Services: []string{"", "  "}}} {
		if broken := NIST.Broken("xK7 pqrt özge", who, true); len(broken) != 0 {
			t.Errorf("%+v: %v", who, broken)
		}
	}
	if broken := NIST.Broken("Can 123456", Person{GivenName: "Can"}, true); len(broken) == 0 {
		t.Error("a short name with digits is accepted")
	}
	if broken := NIST.Broken("american football fans", Person{GivenName: "Can"}, true); len(broken) != 0 {
		t.Errorf("a short name inside another word: %v", broken)
	}
}

func TestEveryRuleHasItsSentence(t *testing.T) {
	c, err := words.Load(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Profile{NIST, Gateway, GatewayOlder} {
		for _, two := range []bool{false, true} {
			names := map[string]bool{}
			for _, r := range p.Rules(two) {
				if !c.Has(r.Key) || names[r.Name] {
					t.Errorf("%s: rule %q: sentence %q", p.Name, r.Name, r.Key)
				}
				names[r.Name] = true
				if takes := slices.Contains(c.Placeholders(r.Key), "n"); takes != (r.N > 0) {
					t.Errorf("%s: rule %q counts %d", p.Name, r.Name, r.N)
				}
			}
		}
		got, err := ProfileNamed(p.Name)
		if err != nil || got.Name != p.Name {
			t.Errorf("ProfileNamed(%q) = %v, %v", p.Name, got.Name, err)
		}
	}
	if NIST.Rules(false)[0].N != 15 || NIST.Rules(true)[0].N != 8 {
		t.Error("the least length does not follow two-factor authentication")
	}
	if _, err := ProfileNamed("strict"); err == nil {
		t.Error("an unknown profile was found")
	}
}

func TestAge(t *testing.T) {
	changed := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		p             Profile
		at            time.Time
		renew, remind bool
	}{
		{NIST, changed.AddDate(30, 0, 0), false, false},
		{Gateway, time.Date(2026, 7, 31, 11, 59, 59, 0, time.UTC), false, false},
		{Gateway, time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC), true, false},
		{GatewayOlder, time.Date(2026, 4, 30, 12, 0, 0, 0, time.UTC), false, false},
		{GatewayOlder, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), false, true},
	}
	for _, tt := range tests {
		if r, m := tt.p.renew(changed, tt.at), tt.p.remind(changed, tt.at); r != tt.renew || m != tt.remind {
			t.Errorf("%s at %v: renew %v, remind %v", tt.p.Name, tt.at, r, m)
		}
	}
}

func TestBlocklist(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(blocklistText, "\n"), "\n")
	if len(lines) < 3000 || len(blocklistText) >= 64<<10 {
		t.Errorf("%d entries in %d bytes", len(lines), len(blocklistText))
	}
	if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Error("not sorted, or an entry twice")
	}
	for _, l := range lines {
		if fold(l) != l {
			t.Errorf("%q is not folded and can never be met", l)
		}
		if broken := NIST.Broken(l, Person{}, true); !slices.ContainsFunc(broken, func(r Rule) bool { return r.Name == "common" }) {
			t.Errorf("%q is accepted", l)
		}
	}
}
