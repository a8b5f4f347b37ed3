package program_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// plant gives a browser a cookie as an attacker would.
func plant(t testing.TB, k *testkapi.Kapi, b *testkapi.Browser, name, value string) {
	t.Helper()
	u, err := url.Parse(k.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.Client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// opens says whether a session token opens somebody's pages, on any replica.
func opens(t testing.TB, k *testkapi.Kapi, token string) (open bool) {
	t.Helper()
	everywhere(k, func(int) {
		b := testkapi.NewBrowser(t)
		plant(t, k, b, "kapi-session", token)
		if r := send(t, b, http.MethodGet, k.URL+"/me", nil); r.Status == http.StatusOK {
			open = true
		}
	})
	return open
}

// B1: a token that stood before a change of privilege is worth nothing after it, on any replica.
func TestB1_Fixation(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)

		// Made up by the attacker.
		planted := strings.Repeat("p", 43)
		b := testkapi.NewBrowser(t)
		plant(t, k, b, "kapi-session", planted)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)
		first := b.Cookie("kapi-session")
		if first == planted || opens(t, k, planted) || !opens(t, k, first) {
			t.Fatal("a planted token became a session")
		}

		// The attacker's own session, planted in the victim's browser.
		own := me(k, t, hasan, hasanPassword, "", 0).Cookie("kapi-session")
		victim := testkapi.NewBrowser(t)
		plant(t, k, victim, "kapi-session", own)
		victim.Open(rp.URL("prompt", "login"))
		signIn(k, victim, mehmet, mehmetPassword, "", 0)
		rp.Answer(victim)
		if victim.Cookie("kapi-session") == own || opens(t, k, own) {
			t.Error("the attacker's session lives on, or became the victim's")
		}

		// In an address, or in a header.
		for _, address := range []string{"/me?kapi-session=" + first, "/me?session=" + first, "/me;kapi-session=" + first, "/me?sid=" + first, "/me#" + first} {
			r := send(t, testkapi.NewBrowser(t), http.MethodGet, k.URL+address, nil, "Authorization", "Bearer "+first, "X-Session", first)
			if r.Status == http.StatusOK && strings.Contains(r.Body, "Mehmet") {
				t.Errorf("%s opened a session", strings.ReplaceAll(address, first, "TOKEN"))
			}
		}

		// Step-up and fresh sign-in.
		b.Open(rp.URL("acr_values", substantial)).See(codeIsTwo)
		b.Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 1)})
		rp.Answer(b)
		raised := b.Cookie("kapi-session")
		if raised == first || opens(t, k, first) || !opens(t, k, raised) {
			t.Error("the token from before the step-up lives on")
		}
		b.Open(rp.URL("prompt", "login"))
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)
		again := b.Cookie("kapi-session")
		if again == raised || opens(t, k, raised) {
			t.Error("the token from before the fresh sign-in lives on")
		}

		// Sign-out.
		b.Open(k.URL + "/me").Press("Sign out")
		if b.Cookie("kapi-session") != "" || opens(t, k, again) {
			t.Error("the token from before the sign-out lives on")
		}
	})
}

// B1: the answer of a sign-in goes to the browser that began it and to no other, whoever knows the address.
func TestB1_ForeignTransaction(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		b, thief := testkapi.NewBrowser(t), testkapi.NewBrowser(t)
		thief.Open(rp.URL())
		page := b.Open(rp.URL()).URL
		id, form := strings.Split(page.Path, "/")[2], b.Target("national_id")
		for name, jar := range map[string]*testkapi.Browser{"another browser": thief, "no cookies": testkapi.NewBrowser(t)} {
			for _, address := range []string{page.String(), form} {
				if r := send(t, jar, http.MethodGet, address, nil); r.Status < 400 || strings.Contains(r.Body, "<form method=\"post\" action=\"/signin") {
					t.Errorf("%s sees the page: %d", name, r.Status)
				}
			}
			if r := send(t, jar, http.MethodPost, form, url.Values{"national_id": {mehmet}, "password": {mehmetPassword}}); r.Status < 400 || r.Status == http.StatusMethodNotAllowed {
				t.Errorf("%s answers: %d", name, r.Status)
			}
		}
		answer := send(t, b, http.MethodPost, form, url.Values{"national_id": {mehmet}, "password": {mehmetPassword}})
		for name, jar := range map[string]*testkapi.Browser{"another browser": thief, "no cookies": testkapi.NewBrowser(t)} {
			if r := send(t, jar, http.MethodGet, k.URL+"/authorize/callback?id="+id, nil); r.Status < 400 || r.Location != "" {
				t.Errorf("%s gets the answer: %d %s", name, r.Status, r.Location)
			}
		}
		b.Open(resolve(k, answer.Location))
		rp.Answer(b)
	})
}

// policy of every page, up to the places a form may lead to.
const policy = "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; manifest-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

// inspect holds every answer against what all must have.
func inspect(t *testing.T, s spoken, secure bool) {
	t.Helper()
	where := fmt.Sprintf("%s %s (%d)", s.Method, s.Path, s.Status)
	want := func(name, value string) {
		t.Helper()
		if got := s.Header.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %s is %q, want %q", where, name, got, value)
		}
	}
	if static := strings.HasPrefix(s.Path, "/static/") && s.Status == http.StatusOK; !static && s.Method != http.MethodOptions && s.Path != "/keys" && s.Path != "/.well-known/openid-configuration" {
		if s.Status == http.StatusOK && (s.Path == "/app/worker.js" || s.Path == "/app/manifest.webmanifest") { // the same for everybody, asked for anew each time
			want("Cache-Control", "no-cache")
		} else if s.Status == http.StatusOK && strings.HasPrefix(s.Path, "/logo/") { // a picture of this hash, for ever, and nothing else
			for name, value := range map[string]string{"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "image/png", "X-Content-Type-Options": "nosniff",
				"Content-Security-Policy": "default-src 'none'; sandbox", "Cross-Origin-Resource-Policy": "same-origin"} {
				want(name, value)
			}
		} else {
			want("Cache-Control", "no-store")
		}
	}
	switch s.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		t.Errorf("%s: a redirect that browsers repeat with the body or keep", where)
	}
	if strings.HasPrefix(s.Header.Get("Content-Type"), "text/html") && s.Status != http.StatusSeeOther {
		want("Content-Type", "text/html; charset=utf-8")
		want("X-Content-Type-Options", "nosniff")
		want("Referrer-Policy", "same-origin")
		want("Cross-Origin-Opener-Policy", "same-origin")
		want("Cross-Origin-Resource-Policy", "same-origin")
		camera := "camera=()"
		if s.Path == "/app" && s.Status == http.StatusOK {
			camera = "camera=(self)"
		}
		if p := s.Header.Get("Permissions-Policy"); !strings.Contains(p, camera) || !strings.Contains(p, "publickey-credentials-get=(self)") || strings.Contains(p, "*") {
			t.Errorf("%s: Permissions-Policy %q", where, p)
		}
		policies := s.Header.Values("Content-Security-Policy")
		if len(policies) != 1 {
			t.Fatalf("%s: %d policies", where, len(policies))
		}
		more, ok := strings.CutPrefix(policies[0], policy)
		for _, origin := range strings.Fields(more) {
			ok = ok && slices.Contains([]string{"https://ssi.example", "https://other.example"}, origin)
		}
		if !ok {
			t.Errorf("%s: policy %q", where, policies[0])
		}
		if got := s.Header.Get("Strict-Transport-Security"); secure != (got == "max-age=31536000; includeSubDomains") || !secure && got != "" {
			t.Errorf("%s: Strict-Transport-Security %q", where, got)
		}
		if strings.Contains(s.Body, "<style") || strings.Contains(s.Body, " style=") || strings.Contains(s.Body, " onclick=") || strings.Contains(s.Body, "javascript:") {
			t.Errorf("%s: something inline", where)
		}
	}
	for _, line := range s.Header.Values("Set-Cookie") {
		parts := strings.Split(line, "; ")
		name, _, _ := strings.Cut(parts[0], "=")
		attributes := slices.DeleteFunc(parts[1:], func(a string) bool { return strings.HasPrefix(a, "Max-Age=") })
		prefix, exact := "kapi-", "Path=/; HttpOnly; SameSite=Lax"
		if secure {
			prefix, exact = "__Host-kapi-", "Path=/; HttpOnly; Secure; SameSite=Lax"
		}
		if !strings.HasPrefix(name, prefix) || strings.Join(attributes, "; ") != exact {
			t.Errorf("%s: cookie %s with %q", where, name, attributes)
		}
		if base := strings.TrimPrefix(name, prefix); strings.Contains(line, "Max-Age=") && !strings.Contains(line, "Max-Age=0") && base != "known" && base != "lang" {
			t.Errorf("%s: the cookie %s outlives the browser", where, name)
		}
	}
}

// states are browsers at every kind of page that has a form.
func states(t *testing.T, k *testkapi.Kapi) map[string]*testkapi.Browser {
	t.Helper()
	rp, other := k.RP("ssi", nil), k.RP("other", map[string]any{"kapi_consent": "always"})
	at := map[string]*testkapi.Browser{"begun": testkapi.NewBrowser(t).Open(rp.URL())}
	at["one factor proven"] = atTheCode(t, k, rp, ayse, aysePassword)
	at["consent"] = testkapi.NewBrowser(t).Open(other.URL())
	signIn(k, at["consent"], mehmet, mehmetPassword, "", 0)
	at["consent"].See("Do you want to share your data?")
	at["out of reach"] = testkapi.NewBrowser(t).Open(rp.URL("acr_values", substantial))
	signIn(k, at["out of reach"], hasan, hasanPassword, "", 0)
	at["temporary password"] = testkapi.NewBrowser(t).Open(rp.URL())
	signIn(k, at["temporary password"], zeynep, zeynepPassword, "", 0)
	at["which person"] = me(k, t, mehmet, mehmetPassword, "", 0).Open(rp.URL("prompt", "select_account"))
	for name, path := range map[string]string{"account": "/me", "sign-ins": "/me/signins", "sessions": "/me/sessions", "other sessions": "/me/sessions/others",
		"password": "/me/password", "two-factor": "/me/two-factor", "switching on": "/me/two-factor/on"} {
		at[name] = me(k, t, mehmet, mehmetPassword, "", 0).Open(k.URL + path)
	}
	at["one session"] = me(k, t, mehmet, mehmetPassword, "", 0).Open(k.URL + "/me/sessions").Follow("Sign out there")
	at["signing out"] = me(k, t, mehmet, mehmetPassword, "", 0).Open(k.URL + "/end_session")
	return at
}

// forms are the POSTs that each of these pages offers, filled so that the right origin would get through.
var forms = map[string]struct {
	path   string // below the page's own address, or absolute
	fields url.Values
}{
	"begun":              {"/with/password", url.Values{"national_id": {hasan}, "password": {hasanPassword}}},
	"one factor proven":  {"/again", url.Values{}},
	"consent":            {"", url.Values{"consent": {"yes"}}},
	"out of reach":       {"", url.Values{"accept": {"yes"}}},
	"temporary password": {"", url.Values{"new_password": {"sarı bisiklet tepede 9"}}},
	"which person":       {"", url.Values{"account": {"other"}}},
	"account":            {"/me/sign-out", url.Values{}},
	"sessions":           {"/me/sessions/others", url.Values{}},
	"one session":        {"", url.Values{}},
	"password":           {"", url.Values{"password": {mehmetPassword}, "new_password": {"sarı bisiklet tepede 9"}}},
	"switching on":       {"", url.Values{"terms": {"yes"}}},
	"signing out":        {"/end_session/confirm", url.Values{"confirm": {"yes"}}},
	"sign-ins":           {"/language", url.Values{"lang": {"tr"}, "to": {"/me"}}},
}

func TestB2_EveryPage(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		tp := record(k)
		at := states(t, k)
		b := testkapi.NewBrowser(t)
		for _, path := range []string{"/", "/help", "/privacy", "/about", "/nowhere", "/me/nowhere", "/signin/nowhere", "/authorize", "/authorize/callback?id=x", "/authorize/refused", "/end_session",
			"/end_session?client_id=nobody", "/me/signed-out", "/me/enter?id=x", "/recover", "/recover/other", "/recover/nowhere", "/recover/nowhere/code", "/undo", "/undo?link=x", "/keys", "/.well-known/openid-configuration", "/healthz", "/readyz", "/userinfo", "/static/nowhere.css"} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions, http.MethodTrace} {
				send(t, b, method, k.URL+path, nil)
			}
		}
		send(t, b, http.MethodPost, k.URL+"/oauth/token", url.Values{})
		send(t, b, http.MethodPost, k.URL+"/oauth/introspect", url.Values{})
		send(t, b, http.MethodPost, k.URL+"/oauth/revoke", url.Values{})
		rp := k.RP("ssi", nil)
		b.Open(rp.URL("response_mode", "form_post"))
		signIn(k, b, mehmet, mehmetPassword, "", 0) // ends at the page that posts to the client
		b.Open(k.URL + "/end_session").Press("Sign out")
		at["begun"].Press("Back to the service")
		at["one factor proven"].Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 1)})
		for _, s := range tp.all {
			inspect(t, s, false)
		}
		pages := 0
		for _, s := range tp.all {
			if strings.HasPrefix(s.Header.Get("Content-Type"), "text/html") {
				pages++
			}
		}
		if pages < 80 {
			t.Errorf("only %d pages were looked at", pages)
		}
	})
}

// snapshot is the content of every table that a person's posts could change.
func snapshot(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	out := map[string]string{}
	tables, err := db.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
	if err != nil {
		tables, err = db.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table'")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	var all []string
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if name != "leases" { // whoever leads says so all the time
			all = append(all, name)
		}
	}
	for _, table := range all {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			line := ""
			for _, v := range values {
				line += fmt.Sprintf("%v|", *v.(*any))
			}
			all = append(all, line)
		}
		slices.Sort(all)
		out[table] = strings.Join(all, "\n")
	}
	return out
}

// B2: what another site posts with the person's cookies changes nothing, at every form.
func TestB2_CrossSitePosts(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		at, db := states(t, k), owner(t, k)
		k.Quiet()
		before := snapshot(t, db)
		for name, form := range forms {
			b := at[name]
			address := b.URL.String() + form.path
			if strings.HasPrefix(form.path, "/me/") || strings.HasPrefix(form.path, "/end_session") || form.path == "/language" {
				address = k.URL + form.path
			}
			for _, headers := range [][]string{
				{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
				{"Sec-Fetch-Site", "", "Origin", "null"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
				{"Sec-Fetch-Site", "", "Origin", strings.Replace(k.URL, "http:", "https:", 1) + ".evil.example"},
				{"Sec-Fetch-Site", "", "Origin", k.URL[:len(k.URL)-1]},
			} {
				r := send(t, b, http.MethodPost, address, form.fields, headers...)
				if r.Status != http.StatusForbidden || r.Location != "" || len(r.Header.Values("Set-Cookie")) > 0 {
					t.Errorf("%s: post to %s with %q: %d %s %v", name, address, headers, r.Status, r.Location, r.Header.Values("Set-Cookie"))
				}
			}
			// A form that leads nowhere as a GET either.
			if r := send(t, b, http.MethodGet, address+"?"+form.fields.Encode(), nil, "Sec-Fetch-Site", "cross-site"); strings.Contains(r.Location, "callback") {
				t.Errorf("%s: a GET did the work: %s", name, r.Location)
			}
		}
		for table, rows := range snapshot(t, db) {
			if rows != before[table] {
				t.Errorf("a foreign post changed %s", table)
			}
		}
		// The same posts from our own origin do change something: the forms were real ones.
		for name, form := range forms {
			if name == "sign-ins" || name == "account" || name == "signing out" {
				continue
			}
			before := snapshot(t, db)
			address := at[name].URL.String() + form.path
			if strings.HasPrefix(form.path, "/me/") {
				address = k.URL + form.path
			}
			k.Clock.Add(46 * time.Second)
			r := send(t, at[name], http.MethodPost, address, form.fields, "Origin", k.URL)
			after := snapshot(t, db)
			led := strings.HasPrefix(r.Location, "/me/two-factor/on/code") // whose page sends the code
			if same := fmt.Sprint(before) == fmt.Sprint(after); same && !led || r.Status >= 400 {
				t.Errorf("%s: our own form did nothing: %d %s (unchanged: %t)", name, r.Status, r.Location, same)
			}
		}
	})
}

// B2: with an https issuer every cookie is Secure and __Host-, and pages ask for https for a year.
func TestB2_HTTPS(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	front := httptest.NewUnstartedServer(nil)
	s := k.Settings
	s.Issuer = "https://" + front.Listener.Addr().String()
	a, err := program.New(t.Context(), s, program.Options{
		Now: k.Clock.Now, Pause: func(context.Context, time.Duration) {}, Routes: []notify.Route{{Gateway: k.Phone, Weight: 1}},
		Password: password.Options{Cost: password.Cost{Memory: 64, Time: 1, Threads: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	k.RP("ssi", nil)
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	both := &testkapi.Kapi{Replicas: []*program.App{a}}
	tp := record(both)
	front.Config.Handler = a.Handler
	front.StartTLS()
	defer front.Close()
	b := testkapi.NewBrowser(t)
	b.Client.Transport = front.Client().Transport
	b.Open(s.Issuer + "/me")
	signIn(k, b, ayse, aysePassword, aysePhone, 1)
	b.See("My account").Follow("Sign-ins")
	b.Post("/language", url.Values{"lang": {"en"}, "to": {"/me"}})
	b.Open(s.Issuer + "/me").Press("Sign out")
	cookies := map[string]bool{}
	for _, spoken := range tp.all {
		inspect(t, spoken, true)
		for _, line := range spoken.Header.Values("Set-Cookie") {
			name, _, _ := strings.Cut(line, "=")
			cookies[name] = true
		}
	}
	if len(cookies) != 4 {
		t.Errorf("cookies %v", cookies)
	}
	// A cookie without the prefix is none: a neighbour on plain http could have written it.
	session := b.Open(s.Issuer + "/me")
	signIn(k, session, hasan, hasanPassword, "", 0)
	token := session.See("My account").Cookie("__Host-kapi-session")
	stranger := testkapi.NewBrowser(t)
	stranger.Client.Transport = front.Client().Transport
	stranger.Client.Jar.SetCookies(session.URL, []*http.Cookie{{Name: "kapi-session", Value: token, Path: "/"}})
	stranger.Open(s.Issuer + "/me").DontSee("My account")
}
