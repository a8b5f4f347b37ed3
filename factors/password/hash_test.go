package password

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestPHC(t *testing.T) {
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"with pepper", "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAQ$c2FsdHNhbHRzYWx0c2FsdA$" + strings.Repeat("A", 43), true},
		{"as the command line writes it", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), true},
		{"another kind", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"another version", "$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"no version", "$argon2id$m=19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"order", "$argon2id$v=19$t=2,m=19456,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"leading zero", "$argon2id$v=19$m=019456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"sign", "$argon2id$v=19$m=+19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"a gigabyte and more", "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"no passes", "$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"threads overflow", "$argon2id$v=19$m=19456,t=2,p=257$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"padding", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ=$" + strings.Repeat("A", 43), false},
		{"stray bits", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHR$" + strings.Repeat("A", 43), false},
		{"short salt", "$argon2id$v=19$m=19456,t=2,p=1$c2Fs$" + strings.Repeat("A", 43), false},
		{"short tag", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAA", false},
		{"keyid zero", "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAA$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"keyid long", "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAQA$c2FsdHNhbHQ$" + strings.Repeat("A", 43), false},
		{"more after it", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43) + "$x", false},
		{"line end", "$argon2id$v=19$m=19456,t=2,p=1$c2Fsd\nHNhbHQ$" + strings.Repeat("A", 43), false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		h, err := parse(tt.text)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && h.String() != tt.text {
			t.Errorf("%s: written back as %s", tt.name, h)
		}
		if err != nil && tt.text != "" && strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error quotes the hash: %v", tt.name, err)
		}
	}
}

// The value was made by the Debian argon2 command: printf 'correct horse' | argon2 somesaltsomesalt -id -t 2 -k 19456 -p 1 -l 32 -r
func TestKnownTag(t *testing.T) {
	got := hex.EncodeToString(DefaultCost.derive([]byte("correct horse"), []byte("somesaltsomesalt"), tagSize))
	if want := "93da21ae87a3672d4f37913549b1cd3ee83abc1f1e4006a16f948e029ea2185e"; got != want {
		t.Errorf("tag = %s, want %s", got, want)
	}
}

func TestArgon2CommandAgrees(t *testing.T) {
	path, err := exec.LookPath("argon2")
	if err != nil {
		t.Skip("the argon2 command (Debian package argon2) is not here; TestKnownTag holds one of its values")
	}
	for _, c := range []struct {
		cost     Cost
		m, ts, p string
	}{{DefaultCost, "19456", "2", "1"}, {Cost{Memory: 4096, Time: 3, Threads: 2}, "4096", "3", "2"}} {
		for _, password := range []string{"a", good, strings.Repeat("ü", 60)} {
			cmd := exec.Command(path, "tuzlutuzlutuzlu!", "-id", "-t", c.ts, "-k", c.m, "-p", c.p, "-l", "32", "-e")
			cmd.Stdin = strings.NewReader(password)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := parse(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatalf("their string %s: %v", out, err)
			}
			if ours := theirs.Cost.derive([]byte(password), theirs.Salt, len(theirs.Tag)); theirs.Cost != c.cost || !bytes.Equal(ours, theirs.Tag) {
				t.Errorf("%+v: tags differ", c.cost)
			}
		}
	}
}

func FuzzPHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAQ$c2FsdHNhbHRzYWx0c2FsdA$" + strings.Repeat("A", 43))
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parse(s)
		if err != nil {
			return
		}
		if h.String() != s {
			t.Errorf("%q is written back as %q", s, h)
		}
		if err := h.Cost.check(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{good, "İıIi", "e\u0301", "\xff\xfe", "ﬁ", "\u1e9b\u0323", "👩‍👩‍👧"} {
		f.Add(s)
	}
	who := Person{NationalID: "10000000146", GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23", Phone: "+905550000001"}
	f.Fuzz(func(t *testing.T, s string) {
		if readable(s, "password") != nil {
			return
		}
		n := Normalise(s)
		if Normalise(n) != n {
			t.Errorf("%q changes again", s)
		}
		if utf8.ValidString(s) && !equal(s, norm.NFD.String(s)) {
			t.Errorf("%q is not its own decomposition", s)
		}
		once := fold(s)
		if twice := fold(once); utf8.ValidString(s) && twice != once {
			t.Errorf("%q folds to %q and then to %q", s, once, twice)
		}
		for _, p := range []Profile{NIST, Gateway, GatewayOlder} {
			for _, r := range p.Broken(s, who, true) {
				if r.Key == "" {
					t.Errorf("%q breaks a rule without a sentence", s)
				}
			}
		}
	})
}
