package visitor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/loginui/page"
)

func (w *world) cookie() *http.Cookie {
	return &http.Cookie{Name: "__Host-kapi-browser", Value: w.jar["__Host-kapi-browser"]}
}

// every page in both languages, from its sample.
func TestEveryPageInBothLanguages(t *testing.T) {
	w := newWorld(t)
	titles := map[string]string{}
	for name := range samples {
		for _, lang := range []string{"tr", "en"} {
			rec := httptest.NewRecorder()
			view := page.View{Lang: lang, Data: samples[name], Service: &page.Service{Name: "S", Address: "s.example"}}
			if err := w.pages.Render(rec, httptest.NewRequest("GET", "/", nil), 200, "visitor/"+strings.TrimSuffix(name, ".html"), view); err != nil {
				t.Fatal(err)
			}
			for _, bad := range htmlcheck.Rules(rec.Body.String()) {
				t.Errorf("%s %s: %s", name, lang, bad)
			}
			n, _ := htmlcheck.Parse(rec.Body.String())
			title, _ := n.One("title")
			if lang == "en" && titles[name] == title.Text() {
				t.Errorf("%s is not translated: %q", name, title.Text())
			}
			titles[name] = title.Text()
		}
	}
}

func TestInformationPages(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{"/": "The gate to public services", "/help": "I forgot my password", "/privacy": "Cookies", "/about": "kapi.example"} {
		r := w.get(path)
		w.says(r, 200, want)
		if f, err := r.Form("/language"); err != nil || f.Fields["to"] != path {
			t.Errorf("%s: %+v %v", path, f, err)
		}
		for _, link := range []string{"/help", "/privacy", "/about"} {
			if !r.Has("footer [href=" + link + "]") {
				t.Errorf("%s does not lead to %s", path, link)
			}
		}
	}
	help := w.get("/help")
	for _, anchor := range []string{"forgot", "wrong", "second", "phone", "nfc", "code", "device", "notification", "backup", "sim", "safe", "not-me", "undo", "contact"} {
		if !help.Has("#" + anchor) {
			t.Errorf("nothing at /help#%s", anchor)
		}
	}
	w.says(w.get("/nowhere"), 404, "There is no such page")
}

// mainText of a page, one space between them.
func mainText(r reply) string {
	all := r.All("main")
	if len(all) != 1 {
		return ""
	}
	return strings.Join(strings.Fields(all[0].Text()), " ")
}

// Sentences that people must find on the help page, in both languages, by the rule that asks for them.
func TestRulesOfTheHelpPage(t *testing.T) {
	w := newWorld(t)
	help := map[string]string{}
	for _, lang := range []string{"tr", "en"} {
		w.header["Accept-Language"] = lang
		help[lang] = mainText(w.get("/help"))
	}
	for _, tc := range []struct{ rule, tr, en string }{
		{"R32", "yıllık ücret alınmaz", "no annual fee"},
		{"R33", "adres çubuğundaki adrese bakın. Uygulamayı yalnızca bu siteden veya telefonunuzun resmî mağazasından", "Look at the address in the address bar when you sign in. Install the app only from"},
		{"R39", "Şifre sayfalarındaki uyarıları okuyun", "Read the warnings on the password pages"},
		{"R39", "kimseye söylemeyin", "Never tell anyone your password"},
		{"R134", "160 numaralı çağrı merkezini arayın veya bu siteyi işleten kurumun iletişim formunu", "Call our help team at the call centre, 160, or fill in the contact form"},
		{"R135", "Bu siteyi kim işletiyor?", "Who runs this site?"},
		{"R144", "QR kodunu telefondaki uygulamayla okutun ve kartı telefonun arkasında", "scan the QR code on the page with the app on your phone, then hold the card"},
		{"R145", "iki cihazın veya bir kart ile bir cihazın birbirine yaklaşınca", "two devices, or a card and a device, talk when they touch"},
		{"R177", "bildirimi onaylayın veya QR kodunu okutun", "approve the notification or scan the QR code"},
		{"R177", "telefonu kayıtlı cihaz yapın", "make the phone your registered device"},
		{"R182", "güvenli ve ulaşabileceğiniz bir yerde saklayın", "in a safe place within your reach"},
		{"R196", "engelleyen bir program varsa kapatın", "If a program blocks messages"},
		{"R196", "SMS ayarlarınızı operatörünüze sorun", "Ask your operator about the SMS settings"},
		{"R197", "bildirimlerinin açık olduğunu kontrol edin", "Check that the notifications of the Kapı app are on"},
		{"R198", "kimlik bilgilerinin karttakiyle aynı olduğunu", "Check that the ID details you typed"},
		{"R199", "kartı ve telefonu oynatmayın", "Keep the card and the phone still"},
		{"R200", "Kart, hesabın sahibinin olmalıdır", "The card must be that of the account's owner"},
		{"R201", "nüfus müdürlüğüne başvurun", "contact the population office"},
		{"R202", "İki aşamalı girişi aç", "Switch on two-factor authentication"},
		{"R202", "Sorun yaşıyorsanız:", "If something does not work:"},
	} {
		if !strings.Contains(help["tr"], tc.tr) && !strings.Contains(strings.ToLower(help["tr"]), tc.tr) {
			t.Errorf("%s: %q is not on the Turkish page", tc.rule, tc.tr)
		}
		if !strings.Contains(help["en"], tc.en) && !strings.Contains(strings.ToLower(help["en"]), tc.en) {
			t.Errorf("%s: %q is not on the English page", tc.rule, tc.en)
		}
	}
	for _, link := range []string{"/recover", "/me/two-factor", "/me/contact", "/me/security/device", "/me/security/backup", "/me/unblock", "/undo", "/about", "#code", "#notification"} {
		if !w.get("/help").Has("[href=" + link + "]") {
			t.Errorf("the help page does not lead to %s", link)
		}
	}
}

func provided(t *testing.T, show func(*Visitor, http.ResponseWriter, *http.Request)) (*httptest.ResponseRecorder, htmlcheck.Node) {
	t.Helper()
	w := newWorld(t)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/authorize?x=1", nil)
	r.Header.Set("Accept-Language", "en")
	show(w.visitor, rec, r)
	for _, bad := range htmlcheck.Rules(rec.Body.String()) {
		t.Error(bad)
	}
	n, err := htmlcheck.Parse(rec.Body.String())
	if err != nil {
		t.Fatal(err)
	}
	return rec, n
}

func TestFormPost(t *testing.T) {
	rec, n := provided(t, func(v *Visitor, w http.ResponseWriter, r *http.Request) {
		v.FormPost(w, r, "https://rp.example/cb?a=1&b=2", []Field{{"code", `"><script>`}, {"state", "x"}})
	})
	f, err := n.Form("https://rp.example/cb?a=1&b=2")
	if err != nil || f.Submit != "Continue" || f.Fields["code"] != `"><script>` || f.Fields["state"] != "x" {
		t.Errorf("%+v %v", f, err)
	}
	if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, "form-action 'self' https://rp.example") {
		t.Errorf("policy %s", csp)
	}
	if rec.Header().Get("Cache-Control") != "no-store" || !strings.Contains(rec.Body.String(), "/script.js") || n.Has(".language button") {
		t.Error("cached, without its script, or with a switch that would ask twice")
	}
}

func TestLogoutPages(t *testing.T) {
	c := &clients.Client{ID: "rp", Name: map[string]string{"": "Portal"}, RedirectURIs: []string{"https://rp.example/cb"}, PostLogoutURIs: []string{"https://bye.example/x"}}
	rec, n := provided(t, func(v *Visitor, w http.ResponseWriter, r *http.Request) {
		v.ConfirmLogout(w, r, c, "/end_session", []Field{{"state", "s"}}, "/end_session?state=s", []string{"en"})
	})
	f, err := n.Form("/end_session")
	if err != nil || f.Fields["state"] != "s" || f.Submit != "Sign out" || len(n.All("button[name=confirm]")) != 2 {
		t.Errorf("%+v %v", f, err)
	}
	if !strings.HasSuffix(rec.Header().Get("Content-Security-Policy"), "form-action 'self' https://bye.example") {
		t.Errorf("policy %s", rec.Header().Get("Content-Security-Policy"))
	}
	for ended, want := range map[bool]string{true: "You are signed out", false: "You are still signed in"} {
		_, n := provided(t, func(v *Visitor, w http.ResponseWriter, r *http.Request) {
			v.SignedOut(w, r, nil, ended, []string{"en"})
		})
		if h1, _ := n.One("h1"); h1.Text() != want {
			t.Errorf("%q, want %q", h1.Text(), want)
		}
	}
	_, n = provided(t, func(v *Visitor, w http.ResponseWriter, r *http.Request) { v.SignedOut(w, r, c, true, []string{"tr"}) })
	if a, err := n.One(".service a"); err != nil || a.Attr("href") != "https://rp.example" || !strings.Contains(n.Text(), "Çıkış yaptınız") {
		t.Errorf("way back: %v, %s", err, n.Text())
	}
}

func TestFailureStaysHere(t *testing.T) {
	rec, n := provided(t, func(v *Visitor, w http.ResponseWriter, r *http.Request) {
		v.Failure(w, r, []string{"en"}, fault.New(fault.Invalid, "authorize.unheard"))
	})
	if rec.Code != 400 || rec.Header().Get("Location") != "" || !strings.Contains(n.Text(), "We could not read this request") {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), n.Text())
	}
}

func TestT1_ClientMetadataIsData(t *testing.T) {
	for _, name := range []string{`<script>alert(1)</script>`, `"><svg onload=alert(1)>`, "x\u202egro.live", strings.Repeat("W", 10<<10), "Kapı"} {
		w := newWorld(t, func(c *clients.Client) {
			c.Name, c.Institution, c.Consent = map[string]string{"": name}, name+" Inc.", "always"
			c.FormActions = []string{"https://evil.example; script-src *", "javascript:alert(1)"}
		})
		path := w.start()
		pages := []reply{w.get(path + "/with/door")}
		w.password(path, "right")
		pages = append(pages, w.get(path+"/consent"))
		for _, r := range pages {
			if r.Code != 200 || r.Has("svg[onload]") || strings.ContainsAny(r.Body.String(), "\u202e") || r.Body.Len() > 40<<10 {
				t.Errorf("%.30q: %d, %d bytes", name, r.Code, r.Body.Len())
			}
			if a, err := r.One(".service .address"); err != nil || a.Text() != "vizite.example" {
				t.Errorf("%.30q hides the address: %v", name, err)
			}
			if csp := r.Header().Get("Content-Security-Policy"); strings.Contains(csp, "evil") || strings.Contains(csp, "javascript") {
				t.Errorf("policy %s", csp)
			}
		}
	}
}
