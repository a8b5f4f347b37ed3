package code

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
)

func TestNormalise(t *testing.T) {
	for _, c := range []struct {
		typed, want string
		ok          bool
	}{
		{"123456", "123456", true},
		{" 123 456 ", "123456", true},
		{"123-456", "123456", true},
		{"123\u00a0456\u200b\ufeff", "123456", true},
		{"１２３４５６", "123456", true},
		{"١٢٣٤٥٦", "123456", true},
		{"۱۲۳۴۵۶", "123456", true},
		{"\U0001d7ce\U0001d7cf\U0001d7d8\U0001d7ff12", "010912", true}, // mathematical digits: five rows of ten in one range
		{"000000", "000000", true},
		{"", "", false},
		{"12345", "", false},
		{"1234567", "", false},
		{"12345O", "", false},
		{"12345\x00", "", false},
		{"½23456", "", false},
		{"+123456", "", false},
		{strings.Repeat(" ", 60) + "123456", "", false},
	} {
		got, ok := Normalise(c.typed)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %q %v", c.typed, got, ok)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"123456", "１２３ ４５６", "1-2-3-4-5-6", "\xff", "\u202e654321"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := Normalise(s)
		if !ok {
			return
		}
		if !regexp.MustCompile(`^[0-9]{6}$`).MatchString(code) {
			t.Fatalf("%q became %q", s, code)
		}
		if again, ok := Normalise(code); !ok || again != code {
			t.Fatalf("%q became %q, then %q", s, code, again)
		}
	})
}

func (b *bench) textFor(service, lang string, left time.Duration) string {
	return b.text(factors.Try{Service: service, Origin: "kapi.example", Lang: lang}, "", "123456", left)
}

func TestText(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		service, lang string
		left          time.Duration
		want          string
	}{
		{"SSI Notification Portal", "en", Life, "123456 is your Kapi security code for SSI Notification Portal. Valid for 5 minutes. Do not share it with anyone."},
		{"SGK İş Göremezlik Çağrı Ağı", "tr", Life, "123456 SGK Is Goremezlik Cagri Agi icin Kapi guvenlik kodunuz. 5 dakika gecerlidir. Kimseyle paylasmayin."},
		{"Portal", "en", 70 * time.Second, "123456 is your Kapi security code for Portal. Valid for 1 minute. Do not share it with anyone."},
		{"https://evil.example/login?x=1", "en", Life, "123456 is your Kapi security code for https evil example login?x 1. Valid for 5 minutes. Do not share it with anyone."},
		{"وزارة", "en", Life, "123456 is your Kapi security code for kapi example. Valid for 5 minutes. Do not share it with anyone."},
		{"a\r\nb\u202ec", "en", Life, "123456 is your Kapi security code for a b c. Valid for 5 minutes. Do not share it with anyone."},
	} {
		if got := b.textFor(c.service, c.lang, c.left); got != c.want {
			t.Errorf("%q in %s:\n got %s\nwant %s", c.service, c.lang, got, c.want)
		}
	}
	long := b.textFor(strings.Repeat("Çok Uzun Bir Kurum Adı ", 50), "tr", Life)
	if len(long) > 160 || !strings.HasSuffix(long, "Kimseyle paylasmayin.") || !strings.HasPrefix(long, "123456 Cok Uzun Bir") {
		t.Errorf("%d characters: %s", len(long), long)
	}
}

// A code that is for no sign-in names its deed, first the digits, within one message; what a factor sends is that.
func TestTextNamesTheDeed(t *testing.T) {
	for _, c := range []struct {
		purpose factors.Purpose
		on      bool
		tr, en  string
	}{
		{factors.TwoFactor, true, "iki asamali girisi kapatmak icin", "to switch off two-factor authentication"},
		{factors.TwoFactor, false, "iki asamali girisi acmak icin", "to switch on two-factor authentication"},
		{factors.Change, true, "hesabinizdaki bir degisiklik icin", "to change something in your account"},
		{factors.Enrol, true, "yeni bir giris yontemi eklemek icin", "to add a way to sign in"},
		{factors.Lost, true, "kayitli cihazinizin kayboldugunu bildirmek icin", "to say that your registered device is lost"},
		{factors.Recovery, true, "yeni bir sifre icin", "for a new password"},
		{factors.SignIn, true, "SSI Notification Portal icin", "for SSI Notification Portal"},
	} {
		for lang, deed := range map[string]string{"tr": c.tr, "en": c.en} {
			b := newBench(t)
			b.kit.Accounts.Put(account.Account{ID: ayse, State: account.Active, TwoFactor: c.on})
			try := b.try
			try.Purpose, try.Lang = c.purpose, lang
			if _, err := b.Begin(t.Context(), try); err != nil {
				t.Fatal(err)
			}
			sent := b.kit.Phone.Sent()
			want := map[string]string{"tr": " " + deed + " Kapi guvenlik kodunuz. 5 dakika gecerlidir. Kimseyle paylasmayin.",
				"en": " is your Kapi security code " + deed + ". Valid for 5 minutes. Do not share it with anyone."}[lang]
			if len(sent) != 1 || len(sent[0].Text) > mostText || !regexp.MustCompile(`^[0-9]{6}`+regexp.QuoteMeta(want)+`$`).MatchString(sent[0].Text) || !gsm.MatchString(sent[0].Text) {
				t.Errorf("%s in %s: %q", c.purpose, lang, sent)
			}
		}
	}
}

// gsm are the characters that ASCII and the basic GSM 7-bit table write alike or a gateway maps without loss.
var gsm = regexp.MustCompile(`^[A-Za-z0-9 !"#%&'()*+,./:;<=>?@$_-]*$`)

// link is what phones underline: a scheme, or letters joined by a dot.
var link = regexp.MustCompile(`://|[A-Za-z0-9]\.[A-Za-z0-9]|@`)

func FuzzText(f *testing.F) {
	f.Add("SSI Notification Portal", "en", 300)
	f.Add("İş.Kurumu.gov.tr/giris", "tr", 59)
	f.Add("{code} {service}", "tr", 1)
	f.Add(strings.Repeat("ﷺ", 200), "en", 300)
	b := &bench{Factor: New(factortest.NewKit(factortest.Start).Factors(), way)}
	f.Fuzz(func(t *testing.T, service, lang string, left int) {
		text := b.textFor(service, lang, time.Duration(left)*time.Second)
		switch {
		case !strings.HasPrefix(text, "123456 "):
			t.Fatalf("does not lead with the code: %q", text)
		case len(text) > 160:
			t.Fatalf("%d characters", len(text))
		case !gsm.MatchString(text):
			t.Fatalf("leaves the alphabet: %q", text)
		case link.MatchString(text):
			t.Fatalf("holds a link: %q", text)
		case !strings.HasSuffix(text, "."):
			t.Fatalf("cut at the end: %q", text)
		}
	})
}

func TestCodesAreUniform(t *testing.T) {
	const n = 20_000
	var first [10]int
	for range n {
		c, err := NewCode()
		if err != nil || len(c) != 6 {
			t.Fatalf("%q %v", c, err)
		}
		first[c[0]-'0']++
	}
	for d, count := range first {
		// 2000 expected, standard deviation 42: eight of them is never reached.
		if count < 1660 || count > 2340 {
			t.Errorf("%d codes of %d begin with %d", count, n, d)
		}
	}
}
