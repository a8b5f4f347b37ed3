package program_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// route is a line of the program's own table of paths.
type route struct {
	path    string // a template
	methods []string
}

func (r route) takes(method string) bool { return slices.Contains(r.methods, method) }

// apart are the prefixes whose handlers sort by themselves, and what tests them.
var apart = map[string]string{
	"/static/":         "files that are no secret: TestB2_EveryPage, loginui.TestMount",
	"/factors/device/": "no cookies, proven requests: TestMachinesKnowNoCookies",
}

// machine are the routes where programs post, without the guard of forms: institutions' servers, or pages of institutions that send somebody.
var machine = []string{"/authorize", "/oauth/token", "/userinfo", "/oauth/revoke", "/oauth/introspect", "/end_session", "/partner/v1/sim-unblock", "/partner/v1/sim-events"}

// allRoutes is every route that the program has: what is added tomorrow is in it.
func allRoutes(t *testing.T, k *testkapi.Kapi) (all []route) {
	t.Helper()
	err := k.App().Router.Walk(func(r *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := r.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := r.GetMethods()
		if err != nil {
			if apart[path] == "" {
				t.Errorf("%s takes every method: say in apart what tests it", path)
			}
			return nil
		}
		all = append(all, route{path, methods})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 110 {
		t.Fatalf("%d routes", len(all))
	}
	return all
}

// scene is somebody at a place of a journey.
type scene struct {
	name    string
	b       *testkapi.Browser
	signin  string // id of the sign-in under way
	recover string // id of the recovery under way
	handle  string // of a session
}

var (
	variable = regexp.MustCompile(`\{([a-z]+)(?::((?:[^{}]|\{[^}]*\})+))?\}`)
	choice   = regexp.MustCompile(`^[a-z]+(\|[a-z]+)+$`)
)

// fill makes addresses of a template: a variable that this does not know fails the test.
func (s scene) fill(t *testing.T, k *testkapi.Kapi, template string) []string {
	t.Helper()
	m := variable.FindStringSubmatchIndex(template)
	if m == nil {
		return []string{template}
	}
	name, pattern := template[m[2]:m[3]], ""
	if m[4] >= 0 {
		pattern = template[m[4]:m[5]]
	}
	var values []string
	switch {
	case choice.MatchString(pattern):
		values = strings.Split(pattern, "|")
	case name == "id" && strings.HasPrefix(template, "/signin/"):
		values = []string{s.signin}
	case name == "id" && strings.HasPrefix(template, "/recover/"):
		values = []string{s.recover}
	case name == "factor":
		for _, f := range k.App().Flow.Factors.All(0) {
			values = append(values, f.Info().Name)
		}
		values = append(values, "nothing")
	case name == "act":
		values = []string{"save", "remove", "nothing"}
	case name == "hash":
		_, logo := picture(t, 7)
		values = []string{logo, strings.Repeat("0", 64)}
	case name == "handle":
		values = []string{s.handle}
	case name == "link":
		values = []string{"bm90aGluZw"}
	default:
		t.Fatalf("%s: what stands for {%s} in this test?", template, name)
	}
	var out []string
	for _, v := range values {
		if v == "" {
			v = "nowhere"
		}
		out = append(out, s.fill(t, k, template[:m[0]]+v+template[m[1]:])...)
	}
	return out
}

// company is a Kapi with somebody at each kind of place.
type company struct {
	*country
	t  *testing.T
	rp *testkapi.RP
	i  int
}

func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{t: t, i: 10}
	c.country = startSIM(t, false, func(o *testkapi.Options) { o.Host = "localhost" })
	logo, _ := picture(t, 7)
	c.Pictures = fstest.MapFS{"logo.png": {Data: logo}}
	c.rp = c.RP("ssi", map[string]any{"kapi_consent": "always", "kapi_logo": "logo.png"})
	return c
}

// one makes a new person, of two-factor authentication or none, and returns the number of the person.
func (c *company) one(twoFactor bool) int {
	c.t.Helper()
	c.i++
	c.People(recoverable(c.i, fmt.Sprintf(`,"two_factor":%v`, twoFactor)))
	c.Clock.Add(time.Minute)
	return c.i
}

func (c *company) begun() *scene {
	b := testkapi.NewBrowser(c.t).Open(c.rp.URL())
	return &scene{b: b, signin: strings.Split(b.URL.Path, "/")[2]}
}

func (c *company) password(s *scene, i int) *scene {
	c.t.Helper()
	s.b.Submit(map[string]string{"national_id": number(i), "password": "the one I forgot now 1"})
	return s
}

// own is a person's session at the account, with a second step where two-factor authentication is on.
func (c *company) own(i int, twoFactor bool, path string) *testkapi.Browser {
	c.t.Helper()
	b := testkapi.NewBrowser(c.t).Open(c.URL + path)
	b.Submit(map[string]string{"national_id": number(i), "password": "the one I forgot now 1"})
	if twoFactor {
		b.Submit(map[string]string{"code": c.Phone.Code(c.t, phoneOf(i), 1)})
	}
	if b.URL.Path != path {
		c.t.Fatalf("at %s:\n%s", b.URL, b.Text())
	}
	return b
}

// scenes are the places that a journey passes. Each can be set again.
func (c *company) scenes() map[string]func() *scene {
	recovering := func(steps int) *scene {
		i := c.one(true)
		b := testkapi.NewBrowser(c.t).Open(c.URL + "/recover")
		renewing(b, i, nil)
		if steps > 0 {
			b.Submit(map[string]string{"code": c.Phone.Code(c.t, phoneOf(i), 1)})
		}
		return &scene{b: b, recover: strings.Split(b.URL.Path, "/")[2]}
	}
	return map[string]func() *scene{
		"nobody":             func() *scene { return &scene{b: testkapi.NewBrowser(c.t).Open(c.URL + "/help")} },
		"a sign-in begun":    c.begun,
		"one factor proven":  func() *scene { return c.password(c.begun(), c.one(true)) },
		"consent is owed":    func() *scene { return c.password(c.begun(), c.one(false)) },
		"the device waits":   c.waiting,
		"a code of recovery": func() *scene { return recovering(0) },
		"a password is owed": func() *scene { return recovering(1) },
		"a restricted session": func() *scene {
			i := c.one(true)
			c.swap(phoneOf(i))
			b := testkapi.NewBrowser(c.t).Open(c.URL + "/me/unblock")
			b.Submit(map[string]string{"national_id": number(i), "password": "the one I forgot now 1"}).See("Confirm your new SIM card")
			return &scene{b: b}
		},
		"a session": func() *scene {
			b := c.own(c.one(true), true, "/me/sessions")
			return &scene{b: b, handle: sessionHandle.FindString(b.Body)}
		},
		"an old session": func() *scene {
			b := c.own(c.one(true), true, "/me/sessions")
			handle := sessionHandle.FindString(b.Body)
			c.Clock.Add(16 * time.Minute)
			return &scene{b: b, handle: handle}
		},
	}
}

// privileges is what every person may and by what, in a hash.
func (c *company) privileges(db *sql.DB) string {
	c.t.Helper()
	h := sha256.New()
	for _, query := range []string{
		"SELECT id, state, ceiling, two_factor FROM accounts ORDER BY id", "SELECT account_id, contacts FROM people ORDER BY account_id",
		"SELECT id, state, data FROM credentials WHERE factor <> 'device' ORDER BY id", "SELECT COUNT(*), state, 0 FROM credentials WHERE factor = 'device' GROUP BY state ORDER BY state",
	} {
		rows, err := db.QueryContext(c.t.Context(), query)
		if err != nil {
			c.t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				c.t.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(h, "%v|", *v.(*any))
			}
		}
		rows.Close()
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

var sessionHandle = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)

func (c *company) waiting() *scene {
	i := c.one(true)
	c.own(i, true, "/me/security/device").Registered(c.Kapi, "The phone")
	c.Clock.Add(11 * time.Minute)
	s := c.password(c.begun(), i)
	if !strings.HasSuffix(s.b.URL.Path, "/with/device") {
		c.t.Fatalf("at %s:\n%s", s.b.URL, s.b.Text())
	}
	return s
}

const crossOrigin = "was sent from another site"

// B2: every page of every route, wherever a person stands, has what all pages have; and what another site posts with the person's cookies is
// refused by every route that is not for machines, before anything is looked at.
func TestB2_EveryRoute(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	tp, db, routes := record(c.Kapi), owner(t, c.Kapi), allRoutes(t, c.Kapi)
	all := map[string]*scene{}
	for name, set := range c.scenes() {
		all[name] = set()
	}
	c.Quiet()
	posts := 0
	for name, s := range all {
		before := snapshot(t, db)
		for _, r := range routes {
			if !r.takes(http.MethodPost) || slices.Contains(machine, r.path) {
				continue
			}
			for _, path := range s.fill(t, c.Kapi, r.path) {
				for _, headers := range [][]string{
					{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site", "Origin", "https://ssi.example"}, {"Sec-Fetch-Site", "", "Origin", "null"},
					{"Sec-Fetch-Site", "", "Origin", "https://ssi.example"},
				} {
					got := send(t, s.b, http.MethodPost, c.URL+path, url.Values{"code": {"123456"}, "national_id": {ayse}, "new_password": {newPassword}}, headers...)
					posts++
					if got.Status != http.StatusForbidden || got.Location != "" || len(got.Header.Values("Set-Cookie")) > 0 || !strings.Contains(got.Body, crossOrigin) {
						t.Errorf("%s: POST %s with %q: %d %s", name, path, headers, got.Status, got.Location)
					}
				}
			}
		}
		for table, rows := range snapshot(t, db) {
			if rows != before[table] {
				t.Errorf("%s: foreign posts changed %s", name, table)
			}
		}
	}
	for name, s := range all {
		for _, r := range routes {
			for _, path := range s.fill(t, c.Kapi, r.path) {
				for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
					if got := send(t, s.b, method, c.URL+path, nil); got.Status >= 500 {
						t.Errorf("%s: %s %s: %d", name, method, path, got.Status)
					}
				}
			}
		}
	}
	pages := map[string]bool{}
	for _, s := range tp.all {
		inspect(t, s, false)
		if strings.HasPrefix(s.Header.Get("Content-Type"), "text/html") && s.Method != http.MethodHead && s.Status == http.StatusOK {
			pages[s.Path] = true
			if strings.HasSuffix(s.Path, "/with/signature") {
				continue // the page of a test
			}
			for _, bad := range htmlcheck.Rules(s.Body) {
				t.Errorf("%s: %v", s.Path, bad)
			}
		}
	}
	if len(pages) < 45 || posts < 500 {
		other := map[string]int{}
		for _, s := range tp.all {
			if s.Method == http.MethodGet && s.Status != http.StatusOK && !pages[s.Path] {
				other[fmt.Sprint(s.Path, " ", s.Status)]++
			}
		}
		t.Errorf("%d pages were looked at, %d foreign posts made\n%v\n%v", len(pages), posts, slices.Sorted(maps.Keys(pages)), other)
	}
}

// Machines' endpoints look at no cookie: with somebody's session they do what they do without.
func TestMachinesKnowNoCookies(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	i := c.one(true)
	b := c.own(i, true, "/me/security/device")
	d := b.Registered(c.Kapi, "The phone")
	for _, path := range []string{"/factors/device/v1/me", "/factors/device/v1/requests", "/factors/device/v1/push", "/factors/device/v1/nothing", "/oauth/token", "/oauth/introspect", "/oauth/revoke",
		"/userinfo", "/partner/v1/sim-unblock", "/partner/v1/sim-events"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			r := send(t, b, method, c.URL+path, nil, "Kapi-App", "android/1.0.0")
			if r.Status < 400 || r.Status >= 500 || len(r.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("%s %s with cookies: %d %q", method, path, r.Status, r.Header.Values("Set-Cookie"))
			}
		}
	}
	if a := d.Me(); a.Status != http.StatusOK {
		t.Errorf("the device: %d %s", a.Status, a.Body)
	}
}

// malformed forms are refused before anybody asks who sends them.
func malformed(form url.Values) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(form)), func(v []string) bool { return len(v) != 1 || strings.Contains(v[0], "\x00") })
}

// S5: from each place of a journey to every address there is, with every method and odd bodies: what is owed or a refusal, never a session that
// was not there, never another password, number or second factor.
func TestS5_EveryRoute(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	db, routes := owner(t, c.Kapi), allRoutes(t, c.Kapi)
	scenes := c.scenes()
	delete(scenes, "a session") // may change things: what it must prove first has tests of its own
	olds := 0
	methods, bodies := []string{http.MethodGet, http.MethodPut}, []url.Values{{}, {"consent": {"yes"}, "accept": {"yes"}, "terms": {"yes"}, "confirm": {"yes"}, "account": {"session"}},
		{"method": {"none"}, "code": {""}, "new_password": {newPassword}, "by": {"sms"}, "phone": {"05550000099"}, "email": {"thief@example.com"}},
		{"by": {"both"}, "factor": {"password"}, "state": {"closed"}, "name": {"x"}, "others": {"no"}}}
	if rounds() > 20 { // the slow set
		methods = append(methods, http.MethodHead, http.MethodDelete)
		bodies = append(bodies, url.Values{"code": {"000000", "000000"}}, url.Values{"code[]": {"000000"}}, url.Values{"code": {"\x00"}}, url.Values{"otp": {""}})
	}
	for name, set := range scenes {
		s := set()
		at := func() string {
			if s.signin == "" && s.recover == "" {
				return ""
			}
			return send(t, s.b, http.MethodGet, map[bool]string{true: c.URL + "/signin/" + s.signin, false: c.URL + "/recover/" + s.recover}[s.signin != ""], nil).Location
		}
		place, privileges := at(), c.privileges(db)
		session := s.b.Cookie("kapi-session")
		for _, r := range routes {
			if slices.Contains([]string{"/recover", "/language", "/me/idle"}, r.path) {
				continue // begins something, or says a language
			}
			asked := 0
			for _, path := range s.fill(t, c.Kapi, r.path) {
				try := func(method string, form url.Values, headers ...string) {
					asked++
					got := send(t, s.b, method, c.URL+path, form, headers...)
					what := fmt.Sprintf("%s: %s %s %v", name, method, path, form)
					if name == "an old session" && method == http.MethodPost && strings.HasPrefix(path, "/me/") && !slices.Contains(ageless, r.path) && got.Status != http.StatusUnsupportedMediaType && !(malformed(form) && got.Status == http.StatusBadRequest) {
						olds++
						if got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/signin/") {
							t.Errorf("%s: %d %s, and no fresh sign-in was asked for", what, got.Status, got.Location)
						}
					}
					switch {
					case got.Status >= 500:
						t.Fatalf("%s: %d", what, got.Status)
					case strings.Contains(got.Location, "code=") || strings.Contains(got.Location, "/authorize/callback"):
						if name != "consent is owed" || form.Get("consent") == "" {
							t.Fatalf("%s went to %s", what, got.Location)
						}
					}
					if now := s.b.Cookie("kapi-session"); now != session && now != "" && name != "consent is owed" {
						t.Fatalf("%s made a session", what)
					}
				}
				for _, method := range methods {
					try(method, nil, "X-Http-Method-Override", "POST")
				}
				if !r.takes(http.MethodPost) {
					continue
				}
				for _, form := range bodies {
					try(http.MethodPost, form)
				}
				try(http.MethodPost, nil, "Content-Type", "application/json")
			}
			may := name == "a password is owed" && r.path == "/recover/{id}/password" // that is what is owed
			if now := c.privileges(db); now != privileges && !may {
				t.Fatalf("%s: %d requests to %s changed what somebody may: %s, was %s", name, asked, r.path, now, privileges)
			}
			if at() != place || s.b.Cookie("kapi-session") != session { // cancelled, signed out, or begun anew, as a person may: the next address is tried from the same place again
				s = set()
				place, privileges, session = at(), c.privileges(db), s.b.Cookie("kapi-session")
			}
		}
	}
	if olds < 60 {
		t.Errorf("an old session tried %d changes", olds)
	}
}

// ageless are the posts below /me for which no fresh sign-in is asked: they can only make things safer, say that somebody is there, or bring
// the link of an e-mail, which proves itself.
var ageless = []string{"/me/sign-out", "/me/not-me", "/me/idle", "/me/contact/link"}
