package portal

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestEverySentenceInBothLanguages(t *testing.T) {
	for key, s := range sentences {
		if s.En == "" || (s.Tr == "" && key != "how.before") {
			t.Errorf("%s lacks a language: %+v", key, s)
		}
		if strings.Contains(s.Tr+s.En, "!") {
			t.Errorf("%s exclaims", key)
		}
	}
	key := regexp.MustCompile(`w \$?\.Lang "([a-z.]+)"`)
	seen := 0
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range key.FindAllStringSubmatch(string(b), -1) {
			seen++
			if _, ok := sentences[m[1]]; !ok {
				t.Errorf("%s uses %q, which has no words", name, m[1])
			}
		}
	}
	for _, d := range Desks() {
		for _, part := range []string{"title", "what", "ask", "in"} {
			if _, ok := sentences["desk."+d+"."+part]; !ok {
				t.Errorf("the desk %s has no %s", d, part)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d uses found", seen)
	}
}

func TestMethodsInWords(t *testing.T) {
	steps := func(names ...string) (c idClaims) {
		for _, n := range names {
			c.Steps = append(c.Steps, struct {
				Method string `json:"m"`
				Time   int64  `json:"t"`
			}{Method: n})
		}
		return c
	}
	for _, tc := range []struct {
		claims idClaims
		tr, en string
	}{
		{steps("password"), "şifreniz", "your password"},
		{steps("password", "sms"), "şifreniz ve telefonunuza gönderilen kod", "your password and a code sent to your phone"},
		{steps("password", "sms", "sms"), "şifreniz ve telefonunuza gönderilen kod", "your password and a code sent to your phone"},
		{steps("password", "totp", "device"), "şifreniz, anahtar uygulamanızdaki kod ve kayıtlı cihazınız", "your password, the code of your key app and your registered device"},
		{idClaims{AMR: []string{"pwd", "sms", "mca", "mfa"}}, "şifreniz ve telefonunuza gönderilen kod", "your password and a code sent to your phone"},
		{steps("password", "messenger"), "şifreniz ve BiP'e gönderilen kod", "your password and a code sent to your BiP"},
		{steps("password", "webauthn"), "şifreniz ve güvenlik anahtarınız veya geçiş anahtarınız", "your password and your security key or passkey"},
		{steps("password", "backup"), "şifreniz ve yedek kodunuz", "your password and a backup code"},
		{steps("password", "totp"), "şifreniz ve anahtar uygulamanızdaki kod", "your password and the code of your key app"},
		{idClaims{AMR: []string{"pwd", "swk", "user", "mca", "mfa"}}, "şifreniz ve cihazınızdaki anahtar", "your password and a key on your device"},
		{steps("magic"), "başka bir yöntem", "another method"},
		{idClaims{}, "başka bir yöntem", "another method"},
	} {
		if got := methods("tr", tc.claims); got != tc.tr {
			t.Errorf("tr: %q, want %q", got, tc.tr)
		}
		if got := methods("en", tc.claims); got != tc.en {
			t.Errorf("en: %q, want %q", got, tc.en)
		}
	}
}

func TestShelfIsBoundedAndForgets(t *testing.T) {
	now := time.Unix(1000, 0)
	s := shelf[int]{life: time.Minute, most: 2, now: func() time.Time { return now }}
	a := s.put(1)
	now = now.Add(time.Second)
	b := s.put(2)
	now = now.Add(time.Second)
	c := s.put(3) // the oldest goes
	if _, ok := s.get(a); ok {
		t.Error("the oldest stayed")
	}
	if v, ok := s.take(b); !ok || v != 2 {
		t.Errorf("took %d %v", v, ok)
	}
	if _, ok := s.take(b); ok {
		t.Error("taken twice")
	}
	now = now.Add(time.Minute)
	if _, ok := s.get(c); ok {
		t.Error("it outlived its life")
	}
}

// What strangers send must never end in a panic or in an unescaped page.
func FuzzClaimsTable(f *testing.F) {
	f.Add([]byte(`{"sub":"<script>","n":1,"o":{"a":[1]}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var out strings.Builder
		err := templates.ExecuteTemplate(&out, "home", frame{Lang: "en", Other: "tr", In: true, Session: session{Payload: payload}})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "<script") {
			t.Fatal("unescaped")
		}
	})
}
