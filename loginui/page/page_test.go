package page

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
)

var noon = time.Date(2026, 1, 2, 9, 5, 0, 0, time.UTC)

// folder makes a source of name/text pairs; its words are hello.*.
func folder(pairs ...string) fs.FS {
	m := fstest.MapFS{"words.json": {Data: []byte(`{
		"hello.heading": {"tr":"Merhaba {name}","en":"Hello {name}"},
		"hello.code": {"tr":"Güvenlik kodu","en":"Security code"},
		"hello.hint": {"tr":"Altı rakam","en":"Six digits"},
		"hello.wrong": {"tr":"Kod yanlış. {n} deneme hakkınız kaldı.","en":"The code is wrong. You have {n} tries left."}}`)}}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

type helloData struct {
	Name  string
	Until time.Time
}

const helloPage = `{{define "heading"}}{{t "hello.heading" "name" .Data.Name}}{{end}}
{{define "main"}}<form class="task" method="post" action="/hello">
{{template "input" (field . "code" "label" "hello.code" "hint" "hello.hint" "class" "code" "autocomplete" "one-time-code" "inputmode" "numeric")}}
{{template "input" (field . "password" "label" "hello.code" "type" "password" "autocomplete" "current-password" "reveal" "show")}}
{{template "submit" .}}</form><p data-seconds="{{seconds .Data.Until}}">{{date .Data.Until}} {{clock .Data.Until}}</p>{{end}}`

func build(t *testing.T, secure bool, sources ...Source) (*Pages, error) {
	t.Helper()
	all := []fs.FS{Words()}
	for _, s := range sources {
		all = append(all, s.FS)
	}
	c, err := words.Load(all...)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Catalogue: c, Sources: sources, Cookies: web.Cookies{Secure: secure}, Issuer: "https://kapi.example",
		Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func hello(t *testing.T) *Pages {
	t.Helper()
	p, err := build(t, true, Source{Name: "hello", FS: folder("hello.html", helloPage, "style.css", "b{}", "script.js", "1", "secret.txt.bak", "x"),
		Samples: map[string]any{"hello.html": helloData{"…", noon}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func show(t *testing.T, p *Pages, name string, v View, header ...string) (*httptest.ResponseRecorder, htmlcheck.Node) {
	t.Helper()
	r := httptest.NewRequest("GET", "/hello?x=1", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if err := p.Render(w, r, 200, name, v); err != nil {
		t.Fatal(err)
	}
	for _, bad := range htmlcheck.Rules(w.Body.String()) {
		t.Error(bad)
	}
	n, err := htmlcheck.Parse(w.Body.String())
	if err != nil {
		t.Fatal(err)
	}
	return w, n
}

func TestRender(t *testing.T) {
	p := hello(t)
	_, n := show(t, p, "hello/hello", View{Data: helloData{"<Ayşe>", noon.Add(90 * time.Second)}, Service: &Service{
		Name: "SSI", Address: "ssi.example", Cancel: "/cancel"}}, "Accept-Language", "en")
	if h1, _ := n.One("h1"); h1.Text() != "Hello <Ayşe>" {
		t.Errorf("h1 %q", h1.Text())
	}
	if title, _ := n.One("title"); title.Text() != "Hello <Ayşe> – SSI – Kapı" {
		t.Errorf("title %q", title.Text())
	}
	if f, err := n.Form("/cancel"); err != nil || f.Submit != "Back to the service" {
		t.Errorf("way back: %+v %v", f, err)
	}
	if f, err := n.Form("/language"); err != nil || f.Fields["to"] != "/hello?x=1" || f.Submit != "Türkçe" {
		t.Errorf("language switch: %+v %v", f, err)
	}
	if f, err := n.Form("/hello"); err != nil || f.Submit != "Continue" {
		t.Errorf("form: %+v %v", f, err)
	}
	if d, _ := n.One("[data-seconds]"); d.Attr("data-seconds") != "90" || d.Text() != "2 Jan 2026 12:06" {
		t.Errorf("moment: %s %q", d.Attr("data-seconds"), d.Text())
	}
	for _, want := range []string{"page-", "hello-"} {
		if !strings.Contains(n.All("[rel=stylesheet]")[strings.Index("ph", want[:1])].Attr("href"), want) {
			t.Errorf("no style of %s", want)
		}
	}
	_, n = show(t, p, "hello/hello", View{Data: helloData{"A", noon}, Switch: "/signin/x/language"})
	if f, err := n.Form("/signin/x/language"); err != nil || f.Submit != "English" || len(f.Fields) != 0 {
		t.Errorf("switch in a sign-in: %+v %v", f, err)
	}
}

// The name of the operator stands at the foot of every page, as data, and nowhere where none is told.
func TestOperator(t *testing.T) {
	p := hello(t)
	for _, name := range []string{"", "Örnek <Kurumu>"} {
		p.Operator = name
		_, n := show(t, p, "hello/hello", View{Data: helloData{"A", noon}})
		if feet := n.All("footer .operator"); len(feet) != min(len(name), 1) || name != "" && feet[0].Text() != name {
			t.Errorf("%q: %v", name, feet)
		}
	}
}

func TestFailedForm(t *testing.T) {
	p := hello(t)
	err := errors.Join(fault.New(fault.Denied, "hello.wrong").With("n", 3).In("code"), fault.New(fault.Invalid, ""))
	_, n := show(t, p, "hello/hello", View{Data: helloData{"A", noon}, Err: err,
		Values: url.Values{"code": {"123456"}, "password": {"CANARY"}}}, "Accept-Language", "en")
	link, errLink := n.One(".summary a")
	if errLink != nil || link.Attr("href") != "#code" || link.Text() != "The code is wrong. You have 3 tries left." {
		t.Errorf("summary: %q %v", link.Text(), errLink)
	}
	if len(n.All(".summary li")) != 2 {
		t.Error("the second problem is missing")
	}
	code, _ := n.One("#code")
	if code.Attr("aria-invalid") != "true" || code.Attr("aria-describedby") != "code-problem code-hint" {
		t.Errorf("field: %v", code.Node.Attr)
	}
	if code.Attr("value") != "" || strings.Contains(n.Text(), "CANARY") {
		t.Error("a secret came back")
	}
	if title, _ := n.One("title"); !strings.HasPrefix(title.Text(), "Error: Hello A") {
		t.Errorf("title %q", title.Text())
	}
}

func TestStartFindsMistakes(t *testing.T) {
	heading := `{{define "heading"}}{{t "hello.heading" "name" "x"}}{{end}}`
	main := func(body string) string { return heading + `{{define "main"}}` + body + `{{end}}` }
	for name, tc := range map[string]struct{ page, want string }{
		"missing key":                {main(`{{t "no.key"}}`), `no key "no.key"`},
		"missing key out of reach":   {main(`{{if false}}{{t "no.key"}}{{end}}`), `no key "no.key"`},
		"missing key in a component": {main(`{{with .Data}}{{else}}{{template "input" (field $ "a" "label" "no.key")}}{{end}}`), `no key "no.key"`},
		"missing argument":           {main(`{{t "hello.heading"}}`), "wants [name]"},
		"superfluous argument":       {main(`{{t "hello.code" "n" 1}}`), "gets [n]"},
		"computed key":               {main(`{{t .Lang}}`), "written out"},
		"no label":                   {main(`{{template "input" (field . "a" "hint" "hello.hint")}}`), "needs a label"},
		"unknown option":             {main(`{{template "input" (field . "a" "label" "hello.code" "colour" "red")}}`), "has no"},
		"missing asset":              {main(`<img src="{{asset "hello/none.svg"}}" alt="">`), "no such asset"},
		"missing component":          {main(`{{template "icon-none"}}`), "icon-none"},
		"unsafe place":               {main(`<a href="{{if .Lang}}/x?{{end}}{{.Lang}}`), "hello/hello"},
		"unescapable":                {main(`<a href={{.Lang}} {{.Dir}}{{if .Lang}}"{{end}}>`), "hello"},
		"no heading":                 {`{{define "main"}}{{end}}`, "heading"},
		"no main":                    {heading, "main"},
		"no such host":               {heading + `{{define "factor-page"}}{{end}}`, "no host"},
		"text outside":               {main(``) + "stray", "outside"},
		"wrong field of the data":    {main(`{{.Data.Nothing}}`), "Nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build(t, true, Source{Name: "hello", FS: folder("hello.html", tc.page), Hosts: []string{"none/step"},
				Samples: map[string]any{"hello.html": helloData{}}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestFactorPageInAHost(t *testing.T) {
	host := `{{define "heading"}}?{{end}}{{define "main"}}<form class="task" method="post" action="{{.Host}}">{{template "factor-page" .}}
{{template "factor-button" .}}</form><ul>{{template "factor-below" .}}</ul>{{end}}
{{define "factor-button"}}{{template "submit" .}}{{end}}{{define "factor-below"}}<li>way</li>{{end}}`
	factor := `{{define "heading"}}{{t "hello.heading" "name" .Data.Name}}{{end}}{{define "factor-page"}}
{{template "input" (field . "code" "label" "hello.code" "autocomplete" "one-time-code")}}{{template "more" .}}{{end}}{{define "more"}}<p>{{.Data.Name}}</p>{{end}}`
	other := `{{define "heading"}}{{t "hello.code"}}{{end}}{{define "factor-page"}}{{template "more" .}}{{end}}{{define "more"}}other{{end}}
{{define "factor-button"}}<button>Go</button>{{end}}{{define "factor-below"}}<li>own</li>{{end}}`
	p, err := build(t, true,
		Source{Name: "hosts", FS: fstest.MapFS{"step.html": {Data: []byte(host)}, "words.json": {Data: []byte(`{}`)}}, HostSamples: map[string]any{"step.html": "/to"}},
		Source{Name: "sms", FS: folder("page.html", factor), Hosts: []string{"hosts/step"}, Samples: map[string]any{"page.html": helloData{}}},
		Source{Name: "key", FS: fstest.MapFS{"page.html": {Data: []byte(other)}, "words.json": {Data: []byte(`{}`)}}, Hosts: []string{"hosts/step"}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Has("hosts/step") || !p.Has(In("hosts/step", "sms/page")) {
		t.Errorf("pages %v", p.Names())
	}
	_, n := show(t, p, In("hosts/step", "sms/page"), View{Data: helloData{Name: "Ayşe"}, Host: "/with/sms", Switch: "/l"})
	if f, err := n.Form("/with/sms"); err != nil || f.Submit != "Devam et" || !strings.Contains(n.Text(), "Merhaba Ayşe") || !n.Has("#code") {
		t.Errorf("%+v %v %s", f, err, n.Text())
	}
	_, n = show(t, p, In("hosts/step", "key/page"), View{Host: "/with/key", Switch: "/l"})
	if f, err := n.Form("/with/key"); err != nil || f.Submit != "Go" || strings.Contains(n.Text(), "way") || !strings.Contains(n.Text(), "other") {
		t.Errorf("%+v %v %s", f, err, n.Text())
	}
}

func TestB2_Headers(t *testing.T) {
	p := hello(t)
	w, _ := show(t, p, "hello/hello", View{Data: helloData{"A", noon},
		FormActions: []string{"https://rp.example", "http://127.0.0.1:*", "com.example.app:", "https://evil.example; script-src *", "javascript:", "data:", ""}})
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; manifest-src 'self'; script-src 'self'; " +
			"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https://rp.example http://127.0.0.1:* com.example.app:",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
		"Strict-Transport-Security":    "max-age=31536000; includeSubDomains",
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Language":             "tr",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	permissions := w.Header().Get("Permissions-Policy")
	if !strings.Contains(permissions, "camera=()") || !strings.Contains(permissions, "publickey-credentials-get=(self)") {
		t.Errorf("Permissions-Policy: %s", permissions)
	}
	w, _ = show(t, p, "hello/hello", View{Data: helloData{"A", noon}, Camera: true, Refresh: 5500 * time.Millisecond})
	if !strings.Contains(w.Header().Get("Permissions-Policy"), "camera=(self)") || w.Header().Get("Refresh") != "6" {
		t.Errorf("headers: %v", w.Header())
	}
}

func TestFormActions(t *testing.T) {
	got := FormActions(true, []string{"http://127.0.0.1/cb", "http://localhost:1/cb", "https://rp.example:8443/cb?x=1", "https://rp.example:8443/b", "com.example.app:/cb", "::"}, "https://more.example")
	want := "http://127.0.0.1:* http://localhost:* https://rp.example:8443 com.example.app: https://more.example"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	if got := FormActions(false, []string{"http://127.0.0.1:9000/cb"}); strings.Join(got, " ") != "http://127.0.0.1:9000" {
		t.Errorf("web client: %v", got)
	}
	// No browser takes an IPv6 address as a source: the scheme stands for it, in the header as sent.
	p := hello(t)
	for _, tc := range []struct {
		native bool
		uri    string
		want   string
	}{{true, "http://[::1]/cb", "http:"}, {false, "http://[::1]:9000/cb", "http:"}, {false, "https://[2001:db8::1]/cb", "https:"}} {
		w, _ := show(t, p, "hello/hello", View{Data: helloData{"A", noon}, FormActions: FormActions(tc.native, []string{tc.uri})})
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, " form-action 'self' "+tc.want) {
			t.Errorf("%s: %s", tc.uri, csp)
		}
	}
}

func TestFault(t *testing.T) {
	p := hello(t)
	for name, tc := range map[string]struct {
		err    error
		status int
		retry  string
		text   string
	}{
		"defect":      {errors.New("pq: secret detail"), 500, "", "Bizde bir arıza var"},
		"own words":   {fault.New(fault.Denied, "hello.wrong").With("n", 3), 403, "", "3 deneme hakkınız"},
		"not found":   {fault.ErrNotFound, 404, "", "Böyle bir sayfa yok"},
		"conflict":    {fault.ErrConflict, 409, "", "daha önce yapıldı"},
		"expired":     {fault.New(fault.Expired, "no.such.key"), 410, "", "Hizmete dönüp yeniden başlayın"},
		"throttled":   {fault.New(fault.Throttled, "").After(90 * time.Second), 429, "90", "2 dakika sonra"},
		"unavailable": {fault.New(fault.Unavailable, ""), 503, "30", "Birkaç dakika sonra"},
		"too slow":    {context.DeadlineExceeded, 503, "30", "Şu anda hizmet veremiyoruz"},
		"too large":   {fault.New(fault.Invalid, keyTooLarge), 413, "", "çok büyük"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			p.FaultIn(w, httptest.NewRequest("POST", "/", nil), tc.err, View{Service: &Service{Name: "S", Cancel: "/c"}})
			body := w.Body.String()
			n, _ := htmlcheck.Parse(body)
			if w.Code != tc.status || w.Header().Get("Retry-After") != tc.retry || !strings.Contains(n.Text(), tc.text) {
				t.Errorf("%d, retry %q, %s", w.Code, w.Header().Get("Retry-After"), n.Text())
			}
			if strings.Contains(body, "secret detail") || !n.Has("[action=/c]") {
				t.Error("detail leaked, or no way back")
			}
			for _, bad := range htmlcheck.Rules(body) {
				t.Error(bad)
			}
		})
	}
}

func TestB2_Post(t *testing.T) {
	p := hello(t)
	h := p.Post(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, "got "+r.PostForm.Get("a"))
		return err
	})
	form := "application/x-www-form-urlencoded"
	for name, tc := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"ours":                    {"a=1", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://kapi.example"}, 200},
		"no script, old browser":  {"a=1", nil, 200},
		"our origin, other host":  {"a=1", []string{"Origin", "https://kapi.example"}, 200},
		"cross-site":              {"a=1", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"same site, other origin": {"a=1", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"origin null":             {"a=1", []string{"Origin", "null"}, 403},
		"origin of a client":      {"a=1", []string{"Origin", "https://rp.example"}, 403},
		"field twice":             {"a=1&a=1", nil, 400},
		"not UTF-8":               {"a=%ff", nil, 400},
		"NUL":                     {"a=%00", nil, 400},
		"broken":                  {"a=%zz", nil, 400},
		"too large":               {"a=" + strings.Repeat("1", 70000), nil, 413},
		"too many fields":         {strings.Repeat("a1=&", 1) + manyFields(), nil, 413},
		"JSON":                    {`{"a":1}`, []string{"Content-Type", "application/json"}, 415},
		"multipart":               {"", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		"no type":                 {"a=1", []string{"Content-Type", ""}, 415},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "https://inside.example/x?a=query", strings.NewReader(tc.body))
			r.Header.Set("Content-Type", form)
			for i := 0; i < len(tc.header); i += 2 {
				r.Header.Set(tc.header[i], tc.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.status || (tc.status == 200) != (w.Body.String() == "got 1") {
				t.Errorf("status %d, want %d: %.80s", w.Code, tc.status, w.Body)
			}
		})
	}
	r := httptest.NewRequest("POST", "/x", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("an empty form: %d", w.Code)
	}
}

func manyFields() string {
	var b strings.Builder
	for i := range mostFields {
		b.WriteString("f" + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + "=&")
	}
	return b.String()
}

func TestSwitchLanguage(t *testing.T) {
	p := hello(t)
	for to, want := range map[string]string{"/help?x=1": "/help?x=1", "https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", "": "/", "/\t/evil": "/"} {
		r := httptest.NewRequest("POST", "/language", strings.NewReader(url.Values{"lang": {"en"}, "to": {to}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		p.SwitchLanguage().ServeHTTP(w, r)
		if w.Code != 303 || w.Header().Get("Location") != want || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "__Host-kapi-lang=en;") {
			t.Errorf("to %q: %d %v", to, w.Code, w.Header())
		}
	}
}

func TestAssets(t *testing.T) {
	p := hello(t)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get(p.assets.path("page/kapi.css")); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") ||
		w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := get("/static/page-000000000000/kapi.css"); w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("outdated hash: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{"/static/", "/static/hello-1/hello.html", "/static/hello-1/words.json", "/static/hello-1/secret.txt.bak", "/static/page-1/../doc.go"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestT1_NamesOfStrangers(t *testing.T) {
	p := hello(t)
	long := strings.Repeat("A", 10<<10)
	for name, want := range map[string]string{
		`<script>alert(1)</script>`:              `<script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`:         `"><img src=x onerror=alert(1)>`,
		"Bank\u202egro.live\u202c \u2066x\u2069": "Bankgro.live x",
		"zero\u200bwidth\u0000\u0007\ufeff":      "zerowidth",
		"  many \n\t spaces ":                    "many spaces",
		"bad \xff utf-8":                         "bad utf-8",
		long:                                     strings.Repeat("A", 80) + "…",
		"ستاره":                                  "ستاره",
	} {
		for lang := range strings.SplitSeq("tr en", " ") {
			_, n := show(t, p, "hello/hello", View{Lang: lang, Data: helloData{name, noon}, Service: &Service{Name: name, Address: name, Back: "javascript:alert(1)"}})
			strip, err := n.One(".service strong bdi")
			if err != nil || strip.Text() != want {
				t.Errorf("%.40q is shown as %.90q (%v), want %.90q", name, strip.Text(), err, want)
			}
			if n.Has("img") || strings.ContainsAny(n.Text(), "\u202e\u2066\u200b") {
				t.Errorf("%.40q got through", name)
			}
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\u202eb  c", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		got := Clean(s, most)
		if strings.ContainsAny(got, "\u202e\u2066\x00\n") || len([]rune(got)) > max(most, 0)+2 {
			t.Errorf("Clean(%q, %d) = %q", s, most, got)
		}
	})
}

func FuzzLocal(f *testing.F) {
	f.Add("//evil.example")
	f.Add("/ok?x=//y")
	base, _ := url.Parse("https://kapi.example/language")
	f.Fuzz(func(t *testing.T, to string) {
		u, err := base.Parse(Local(to))
		if err != nil || u.Host != "kapi.example" || u.Scheme != "https" {
			t.Errorf("Local(%q) leads to %v, %v", to, u, err)
		}
	})
}

func TestWordsAreJSON(t *testing.T) {
	b, err := fs.ReadFile(Words(), "words.json")
	if err != nil || !json.Valid(b) {
		t.Fatal(err)
	}
}

// The language switch repeats where the reader is, but neither a hint that tells who he is nor the language asked for before.
func TestL1_SwitchRepeatsNoHint(t *testing.T) {
	for target, want := range map[string]string{
		"/authorize?client_id=nobody&login_hint=10000000146&id_token_hint=e.y.J&scope=a+b&ui_locales=tr": "/authorize?client_id=nobody&scope=a+b",
		"/end_session?id_token_hint=e.y.J":              "/end_session",
		"/me/sign%2Fins?b=2&a=1&a=3":                    "/me/sign%2Fins?b=2&a=1&a=3", // as it was
		"/help?x=" + strings.Repeat("y", 1500):          "/help",
		"/help?login_hint=" + strings.Repeat("y", 1500): "/help",
	} {
		if got := here(httptest.NewRequest("GET", target, nil)); got != want {
			t.Errorf("%.80s: %s", target, got)
		}
	}
	if got := here(httptest.NewRequest("POST", "/authorize", nil)); got != "" {
		t.Errorf("a form cannot be asked for again: %s", got)
	}
	p := hello(t)
	_, n := show(t, p, "hello/hello", View{Data: helloData{"A", noon}, Here: "/hello?asked=again"})
	if f, err := n.Form("/language"); err != nil || f.Fields["to"] != "/hello?asked=again" {
		t.Errorf("%+v %v", f, err)
	}
}
