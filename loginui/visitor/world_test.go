package visitor

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// door is a first factor: the password is "right".
type door struct {
	info    factors.Info
	between func() // runs while a new password is made ready
	now     func() time.Time
	write   func(context.Context) error // of the new password; nil = nothing is
}

func (d *door) Info() factors.Info { return d.info }
func (d *door) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{Data: struct{}{}}}, nil
}
func (d *door) Verify(_ context.Context, try factors.Try, a factors.Answer) (factors.Proof, error) {
	switch p := a.Get("password"); {
	case p == "":
		return factors.Proof{}, fault.New(fault.Invalid, "door.missing").In("password")
	case p == "busy":
		return factors.Proof{}, fault.New(fault.Unavailable, "door.busy").After(3 * time.Second)
	case p != "right" && p != "old" || try.Account == "":
		return factors.Proof{}, factors.ErrWrong
	default:
		return factors.Proof{Factor: d.info.Name, Account: try.Account, Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low,
			AMR: []string{"pwd"}, At: d.now(), Renew: p == "old"}, nil
	}
}
func (d *door) RenewPage(context.Context, factors.Try) (factors.Page, error) {
	return factors.Page{Data: struct{}{}}, nil
}
func (d *door) Renew(_ context.Context, _ factors.Try, a factors.Answer) (func(context.Context) error, error) {
	if len(a.Get("new_password")) < 15 {
		return nil, fault.New(fault.Invalid, "door.short").In("new_password")
	}
	if d.between != nil {
		d.between()
	}
	return func(ctx context.Context) error {
		if d.write == nil {
			return nil
		}
		return d.write(ctx)
	}, nil
}
func (d *door) Pages() fs.FS {
	return fstest.MapFS{
		"page.html": {Data: []byte(`{{define "heading"}}{{t "door.heading"}}{{end}}{{define "factor-page"}}
{{template "input" (field . "national_id" "label" "door.number" "inputmode" "numeric" "autocomplete" "username" "reveal" "hide")}}
{{template "input" (field . "password" "label" "door.password" "type" "password" "autocomplete" "current-password" "reveal" "show")}}{{end}}`)},
		"renew.html": {Data: []byte(`{{define "heading"}}{{t "door.renew"}}{{end}}{{define "factor-page"}}
{{template "input" (field . "new_password" "label" "door.password" "type" "password" "autocomplete" "new-password" "reveal" "show")}}{{end}}`)},
		"words.json": {Data: []byte(`{"factor.door":{"tr":"Şifre","en":"Password"},"door.heading":{"tr":"Giriş yap","en":"Sign in"},"door.number":{"tr":"T.C. kimlik numarası","en":"ID number"},
"door.password":{"tr":"Şifre","en":"Password"},"door.missing":{"tr":"Şifrenizi girin.","en":"Enter your password."},"door.busy":{"tr":"Çok yoğun.","en":"Very busy."},
"door.renew":{"tr":"Yeni şifrenizi belirleyin","en":"Choose a new password"},"door.short":{"tr":"Şifre kısa.","en":"The password is short."}}`)},
	}
}

// knock is a second factor: the code is 123456. What has told it is true of the person.
type knock struct {
	name    string
	has     bool
	trouble string
	begin   error
	again   error
	sent    int
	resend  time.Duration
	asked   factors.Try
	looked  int // how often it was asked whether it is available
	over    bool
	now     func() time.Time
}

func (k *knock) Info() factors.Info {
	return factors.Info{Name: k.name, Stage: factors.Second, Tries: factors.Tries{Free: 3, First: 10 * time.Minute, Most: 10 * time.Minute}}
}
func (k *knock) Available(context.Context, account.ID) (bool, error) {
	k.looked++
	return k.has, nil
}
func (k *knock) Over(context.Context, factors.Try) (bool, error) { return k.over, nil }
func (k *knock) Begin(_ context.Context, try factors.Try) (factors.Challenge, error) {
	k.asked = try
	return factors.Challenge{Page: &factors.Page{Data: struct{ Ending string }{"01"}, Resend: storagetest.Start.Add(k.resend), Trouble: k.trouble}}, k.begin
}
func (k *knock) Again(context.Context, factors.Try) error {
	if k.again == nil {
		k.sent++
	}
	return k.again
}
func (k *knock) Verify(_ context.Context, try factors.Try, a factors.Answer) (factors.Proof, error) {
	switch a.Get("code") {
	case "123456":
		return factors.Proof{Factor: k.name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: "phone", Level: acr.Low,
			AMR: []string{"sms"}, At: k.now()}, nil
	case "000000":
		return factors.Proof{}, factors.ErrWrong
	}
	return factors.Proof{}, fault.Wrap(fault.Denied, k.name+".wrong", factors.ErrWrong).With("n", 4).In("code")
}
func (k *knock) Pages() fs.FS {
	return fstest.MapFS{
		"page.html": {Data: []byte(strings.ReplaceAll(`{{define "heading"}}{{t "NAME.heading" "ending" .Data.Ending}}{{end}}{{define "factor-page"}}
{{template "input" (field . "code" "label" "NAME.code" "class" "code" "autocomplete" "one-time-code" "inputmode" "numeric")}}{{end}}
{{define "factor-below"}}<li><a href="/help">{{t "NAME.code"}}</a></li>{{end}}`, "NAME", k.name))},
		"words.json": {Data: []byte(strings.ReplaceAll(`{"factor.NAME":{"tr":"NAME kodu","en":"NAME code"},"NAME.heading":{"tr":"Sonu {ending} olan telefona gelen kod","en":"Code sent to {ending}"},
"NAME.code":{"tr":"Güvenlik kodu","en":"Security code"},"NAME.wrong":{"tr":"Kod yanlış. {n} deneme hakkınız kaldı.","en":"The code is wrong. You have {n} tries left."},
"NAME.down":{"tr":"Mesaj gidemiyor.","en":"Messages cannot be sent."}}`, "NAME", k.name))},
	}
}

type keys struct{ *secret.Ring }

func (k keys) Subject(parts ...string) string {
	return fmt.Sprintf("%x", k.MAC(secret.Subject, parts...))[:40]
}
func (k keys) Known(parts ...string) []byte  { return k.MAC(secret.Cookie, parts...) }
func (k keys) HashToken(token string) []byte { return secret.Hash(token) }
func (k keys) CheckKnown(mac []byte, parts ...string) bool {
	return k.CheckMAC(secret.Cookie, mac, parts...)
}
func (k keys) NewToken() (string, []byte) { t := secret.Token(); return t, secret.Hash(t) }

// world is a sign-in with one browser in front of it.
type world struct {
	t       *testing.T
	db      *storage.DB
	clock   *storagetest.Clock
	flow    *signin.Flow
	visitor *Visitor
	pages   *page.Pages
	handler http.Handler
	door    *door
	sms     *knock
	app     *knock
	person  enrolment.Record
	client  clients.Client
	jar     map[string]string // cookies by name
	header  map[string]string
}

// page is an answer.
type reply struct {
	*httptest.ResponseRecorder
	htmlcheck.Node
}

func newWorld(t *testing.T, change ...func(*clients.Client)) *world {
	t.Helper()
	w := &world{t: t, clock: storagetest.NewClock(), jar: map[string]string{}, header: map[string]string{"Accept-Language": "en"}}
	w.db = storagetest.Open(t, storagetest.SQLiteURL(t), w.clock)
	w.person = storagetest.Person(t, w.db)
	w.client = clients.Client{ID: "rp", Name: map[string]string{"": "SSI Notification Portal", "tr": "SGK Bildirim"}, Institution: "Social Security",
		RedirectURIs: []string{"https://vizite.example/cb"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, AuthMethod: "none",
		Consent: "none", IDTokenAlg: "ES256", Raw: json.RawMessage(`{}`)}
	for _, c := range change {
		c(&w.client)
	}
	if err := w.db.SaveClient(t.Context(), w.client); err != nil {
		t.Fatal(err)
	}
	w.door = &door{info: factors.Info{Name: "door", Stage: factors.First, Order: 1, Tries: factors.Tries{Free: 5, First: 30 * time.Second, Most: time.Hour}}}
	w.sms, w.app = &knock{name: "sms", has: true, resend: 28 * time.Second}, &knock{name: "app"}
	w.sms.now, w.app.now = w.clock.Now, w.clock.Now
	registry, err := factors.NewRegistry(w.door, w.sms, w.app)
	if err != nil {
		t.Fatal(err)
	}
	w.flow = &signin.Flow{Store: w.db, Sessions: w.db, Accounts: w.db, Consents: w.db, Clients: w.db, Factors: registry, Throttle: w.db, Audit: w.db,
		Keys: keys{secret.Ephemeral()}, Origin: "kapi.example", Now: w.clock.Now, Pause: func(context.Context, time.Duration) {}}
	w.door.now = w.clock.Now
	w.mount(registry)
	w.jar["__Host-kapi-browser"] = secret.Token()
	return w
}

func (w *world) mount(registry *factors.Registry) {
	w.t.Helper()
	sources := append(FactorSources(registry, ""), Source())
	all := []fs.FS{page.Words(), Words()}
	for _, f := range registry.All(0) {
		all = append(all, f.Pages())
	}
	catalogue, err := words.Load(all...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pages, err = page.New(page.Config{Catalogue: catalogue, Sources: sources, Cookies: web.Cookies{Secure: true}, Issuer: "https://kapi.example",
		Now: w.clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.visitor, err = New(Config{Pages: w.pages, Flow: w.flow})
	if err != nil {
		w.t.Fatal(err)
	}
	r := mux.NewRouter()
	w.visitor.Mount(r)
	r.NotFoundHandler = http.HandlerFunc(w.pages.NotFound)
	w.handler = r
}

// start makes a transaction of this browser and returns its path.
func (w *world) start(change ...func(*signin.Ask)) string {
	w.t.Helper()
	ask := signin.Ask{Client: w.client.ID, Scopes: []string{"openid", "profile", "phone"}}
	for _, c := range change {
		c(&ask)
	}
	t := signin.New(ask, secret.Hash(w.jar["__Host-kapi-browser"]), w.clock.Now())
	if err := w.db.CreateTransaction(w.t.Context(), t); err != nil {
		w.t.Fatal(err)
	}
	return "/signin/" + t.ID
}

func (w *world) get(path string) reply { w.t.Helper(); return w.send("GET", path, nil) }

func (w *world) post(path string, pairs ...string) reply {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return w.send("POST", path, form)
}

func (w *world) send(method, path string, form url.Values) reply {
	w.t.Helper()
	r := httptest.NewRequest(method, "https://kapi.example"+path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, value := range w.header {
		r.Header.Set(name, value)
	}
	for name, value := range w.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		w.jar[c.Name] = c.Value
	}
	body := rec.Body.String()
	if strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") && rec.Code != http.StatusSeeOther {
		for _, bad := range htmlcheck.Rules(body) {
			w.t.Errorf("%s %s: %s", method, path, bad)
		}
		if !strings.Contains(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") || rec.Header().Get("Cache-Control") != "no-store" {
			w.t.Errorf("%s %s: headers %v", method, path, rec.Header())
		}
	}
	n, err := htmlcheck.Parse(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{rec, n}
}

// leads fails unless the answer is a 303 to the path.
func (w *world) leads(r reply, to string) {
	w.t.Helper()
	if r.Code != http.StatusSeeOther || r.Header().Get("Location") != to {
		w.t.Fatalf("%d to %q, want 303 to %q: %.300s", r.Code, r.Header().Get("Location"), to, r.Node.Text())
	}
}

// says fails unless the page has the status and all the words.
func (w *world) says(r reply, status int, parts ...string) {
	w.t.Helper()
	if r.Code != status {
		w.t.Errorf("status %d, want %d: %.300s", r.Code, status, r.Node.Text())
	}
	for _, p := range parts {
		if !strings.Contains(r.Node.Text(), p) {
			w.t.Errorf("the page does not say %q: %s", p, r.Node.Text())
		}
	}
}

// password passes the first step and returns the answer.
func (w *world) password(path, value string) reply {
	w.t.Helper()
	return w.post(path+"/with/door", "national_id", string(w.person.Person.NationalID), "password", value)
}

func (w *world) twoFactor() {
	w.t.Helper()
	a, err := w.db.Account(w.t.Context(), w.person.Account.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	a.TwoFactor, a.TwoFactorSince = true, w.clock.Now()
	if err := w.db.UpdateAccount(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
}
