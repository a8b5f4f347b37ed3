package portal

import (
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// need is what a page asks of the sign-in.
type need struct {
	acr   []string // one of these, essential; none = any
	fresh bool     // a sign-in made for this page
	desk  string   // a sign-in of this desk's application; "" = the portal's own
}

// needs of the pages that a sign-in may lead to; no other address is ever redirected to.
var needs = map[string]need{
	"/":              {},
	"/notifications": {acr: []string{acrSubstantial, acrHigh}},
	"/sign-document": {fresh: true},

	deskPath(Strict): {desk: Strict, acr: []string{acrSubstantial, acrHigh}},
	deskPath(Since):  {desk: Since},
	deskPath(From):   {desk: From},
	deskPath(Alone):  {desk: Alone},
}

func deskPath(name string) string { return "/desk/" + name }

// login is a sign-in under way: what the answer is held to.
type login struct {
	browser  string // the cookie of the browser that asked
	nonce    string
	verifier string // PKCE, RFC 7636
	to       string
	desk     string // whose application asked; "" = the portal's own
	maxAge   int    // seconds; -1 = none was asked
	started  time.Time
}

// session is a signed-in browser.
type session struct {
	IDToken string
	Payload json.RawMessage // the ID token's claims, as they came
	Claims  idClaims
	Person  person
	Permit  bool   // a sign-in was made for signing one document
	Signed  bool   // the document is signed
	Desk    string // whose application it is of
}

type person struct {
	Name string `json:"name"`
}

func (p *portal) session(r *http.Request) (session, bool) {
	return p.sessions.get(cookieOf(r, "portal-session"))
}

var words = regexp.MustCompile(`^[a-zA-Z0-9:/._ -]{1,200}$`)

// login sends the browser to the provider: code flow with PKCE S256, state and nonce.
func (p *portal) login(w http.ResponseWriter, r *http.Request) {
	op, err := p.provider.discover(r.Context())
	if err != nil {
		slog.WarnContext(r.Context(), "portal: the provider does not answer", "error", err)
		p.show(w, r, http.StatusServiceUnavailable, "message", message{Title: "away.title", Text: "away.text", Again: "/login"})
		return
	}
	q := r.URL.Query()
	l := login{browser: cookieOf(r, "portal-browser"), nonce: token(), verifier: oauth2.GenerateVerifier(), to: "/", maxAge: -1, started: p.Now()}
	if l.browser == "" {
		l.browser = token()
	}
	p.cookie(w, "portal-browser", l.browser, time.Hour)
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(l.verifier), oauth2.SetAuthURLParam("nonce", l.nonce)}
	add := func(name, value string) { opts = append(opts, oauth2.SetAuthURLParam(name, value)) }
	if v := q.Get("acr"); words.MatchString(v) {
		add("acr_values", v)
	}
	if v := q.Get("prompt"); words.MatchString(v) {
		add("prompt", v)
	}
	if n, err := strconv.Atoi(q.Get("max_age")); err == nil && n >= 0 {
		l.maxAge = n
	}
	if n, ok := needs[q.Get("to")]; ok && p.open(n.desk) {
		l.to, l.desk = q.Get("to"), n.desk
		if n.fresh {
			l.maxAge = 0
		}
		if len(n.acr) > 0 {
			add("claims", essentialACR(n.acr))
		}
	}
	if l.maxAge >= 0 {
		add("max_age", strconv.Itoa(l.maxAge))
	}
	if lang := cookieOf(r, "portal-lang"); lang == "tr" || lang == "en" {
		add("ui_locales", lang)
	}
	http.Redirect(w, r, p.oauth(op, l.desk).AuthCodeURL(p.pending.put(l), opts...), http.StatusSeeOther)
}

// callback takes the authorization response.
func (p *portal) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	l, ok := p.pending.take(q.Get("state"))
	if !ok || subtle.ConstantTimeCompare([]byte(l.browser), []byte(cookieOf(r, "portal-browser"))) != 1 {
		// Someone else's answer would sign this browser in as someone else (login CSRF, RFC 6749 §10.12).
		p.show(w, r, http.StatusBadRequest, "message", message{Title: "stale.title", Text: "stale.text", Again: "/login"})
		return
	}
	op, err := p.provider.discover(r.Context())
	if err != nil {
		p.show(w, r, http.StatusServiceUnavailable, "message", message{Title: "away.title", Text: "away.text", Again: again(l)})
		return
	}
	if iss := q.Get("iss"); iss != p.Issuer && (iss != "" || op.SendsIss) { // RFC 9207 §2.4: mix-up
		p.broken(w, r, l, "the answer comes from another issuer")
		return
	}
	if code := q.Get("error"); code != "" {
		p.refused(w, r, l, code)
		return
	}
	s, err := p.redeem(r.Context(), op, q.Get("code"), l)
	if err != nil {
		p.broken(w, r, l, err.Error())
		return
	}
	s.Permit, s.Desk = needs[l.to].fresh, l.desk
	old, _ := p.sessions.take(cookieOf(r, "portal-session"))
	s.Signed = old.Signed && old.Claims.Subject == s.Claims.Subject
	p.cookie(w, "portal-left", "", 0)
	p.cookie(w, "portal-session", p.sessions.put(s), 8*time.Hour) // a new name: no session fixation
	http.Redirect(w, r, l.to, http.StatusSeeOther)
}

// refused puts an OAuth error into words.
func (p *portal) refused(w http.ResponseWriter, r *http.Request, l login, code string) {
	status, key := http.StatusBadGateway, "refused.other"
	switch code {
	case "access_denied":
		status, key = http.StatusForbidden, "refused.access_denied"
	case "unmet_authentication_requirements":
		status, key = http.StatusForbidden, "refused.unmet_authentication_requirements"
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		status, key = http.StatusUnauthorized, "refused.login_required"
	case "temporarily_unavailable", "server_error":
		status, key = http.StatusServiceUnavailable, "refused.temporarily_unavailable"
	}
	p.show(w, r, status, "message", message{Title: key + ".title", Text: key + ".text", Code: code, Again: again(l)})
}

func (p *portal) broken(w http.ResponseWriter, r *http.Request, l login, why string) {
	slog.WarnContext(r.Context(), "portal: an answer was refused", "reason", why)
	p.show(w, r, http.StatusBadGateway, "message", message{Title: "broken.title", Text: "broken.text", Again: again(l)})
}

// again starts the same sign-in once more.
func again(l login) string {
	if l.to == "/" {
		return "/login"
	}
	return "/login?" + url.Values{"to": {l.to}}.Encode()
}

// logout ends the session here and then asks the provider to end its own (OpenID Connect RP-Initiated Logout §2).
func (p *portal) logout(w http.ResponseWriter, r *http.Request) {
	s, ok := p.sessions.take(cookieOf(r, "portal-session"))
	p.cookie(w, "portal-session", "", 0)
	p.cookie(w, "portal-left", "1", 10*time.Minute)
	op, err := p.provider.discover(r.Context())
	if !ok || err != nil || op.EndSession == "" {
		http.Redirect(w, r, SignedOutPath, http.StatusSeeOther)
		return
	}
	q := url.Values{"id_token_hint": {s.IDToken}, "client_id": {p.registration(s.Desk).ClientID}, "post_logout_redirect_uri": {p.BaseURL + SignedOutPath}}
	if lang := cookieOf(r, "portal-lang"); lang != "" {
		q.Set("ui_locales", lang)
	}
	sep := "?"
	if strings.Contains(op.EndSession, "?") {
		sep = "&"
	}
	http.Redirect(w, r, op.EndSession+sep+q.Encode(), http.StatusSeeOther)
}

// claims are for scripts that want to know what the portal learned.
func (p *portal) claims(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	s, ok := p.session(r)
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(`{"error":"not_signed_in"}` + "\n"))
		return
	}
	w.Write(s.Payload)
}
