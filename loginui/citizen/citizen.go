package citizen

import (
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

//go:embed *.html words*.json style.css
var files embed.FS

// Words is the catalogue source of these pages.
func Words() fs.FS { return files }

// Source is the source of these pages.
func Source() page.Source {
	return page.Source{Name: "citizen", FS: files, Samples: samples, HostSamples: map[string]any{
		"confirm.html": codeHost{Others: []otherWay{{}}}, "factor.html": factorHost{}}}
}

// samples are what the pages are tried out with at the start.
var samples = map[string]any{
	"account.html": accountData{Phone: phoneData{Ending: "01"}, Last: &entry{}, Failed: 1}, "history.html": historyData{Entries: []entry{{Methods: []string{"me.method.pwd"}}}},
	"sessions.html": sessionsData{Sessions: []sessionData{{}}}, "end.html": sessionData{}, "end-others.html": othersData{},
	"password.html": passwordData{AskOld: true, Rules: []PasswordRule{{}}}, "two-factor.html": twoFactorData{}, "two-factor-on.html": twoFactorData{},
	"two-factor-off.html": twoFactorData{}, "refused.html": refusedData{}, "signed-out.html": struct{}{}, "idle.html": idleData{},
	"security.html": securityData{Rows: []row{{Path: "/"}, {}}, Last: &entry{}}, "reset.html": resetData{}, "access.html": accessData{Rows: []accessRow{{Factor: "password"}}},
	"access-sure.html": accessRow{Factor: "password", Signed: true}, "reset-sure.html": resetSure{By: "both", Current: "phone"},
	"contact.html": contactData{}, "contact-form.html": contactForm{}, "contact-code.html": contactCode{}, "contact-remove.html": contactRemove{}, "contact-link.html": contactLink{},
	"contact-linked.html": struct{}{}, "unblock.html": unblockData{Blocked: &enrolment.Blocked{}},
	"services.html": servicesData{Services: []serviceData{{Service: &page.Service{}, Scopes: []string{"me.scope.email"}}, {Service: &page.Service{}}}},
	"withdraw.html": serviceData{Service: &page.Service{}, Scopes: []string{"me.scope.email"}},
	"notices.html":  noticesData{Notices: []noticeData{{NotMe: true}, {}}}, "not-me.html": notMeData{}, "disavowed.html": struct{}{},
}

// Host is the page that wraps the page of a second factor; it belongs in page.Source.Hosts of every second factor.
const Host = "citizen/confirm"

// Config of New. All fields are required but PhonePath, EmailPath, Place, Held, VoidTickets and Reset.
type Config struct {
	Pages    *page.Pages
	Signin   Signin
	Factors  *factors.Registry
	Sessions session.Store
	People   People
	Contacts contact.Store
	Record   Record
	Notices  Notices
	Consents Consents
	// Atomically runs fn in one transaction of the database, again if it must.
	Atomically func(ctx context.Context, fn func(context.Context) error) error
	TwoFactor  TwoFactor
	Passwords  Passwords
	Throttle   throttle.Store
	Keys       Keys
	Cookies    web.Cookies
	// PhoneFactor is the second factor that proves the phone when two-factor authentication is switched on: "sms".
	PhoneFactor string
	// PhonePath and EmailPath are the pages on which people change them; "" = there is none.
	PhonePath, EmailPath string
	// Place turns a network into a place as people of lang name it; nil = networks are shown as they are.
	Place func(network, lang string) string
	// Contacting changes phone and e-mail; nil = there are no pages for it.
	Contacting Contacting
	// Held says why nothing about the person's ways to sign in may be changed in this session now, such as for a day after a
	// recovery: a *fault.Error with a sentence; nil where it may.
	Held func(ctx context.Context, id account.ID, s session.Session) error
	// VoidTickets closes every open code, challenge, pairing and request of a person, as ending all sessions does; it runs inside a
	// transaction. nil = there are none.
	VoidTickets func(ctx context.Context, id account.ID, at time.Time) error
	// Reset stores how a forgotten password is renewed; nil = there is no page for it.
	Reset contact.Changer
	Now   func() time.Time
}

// Signin is the sign-in behind these pages; *signin.Flow stands behind it.
type Signin interface {
	StartSelf(ctx context.Context, a signin.SelfAsk, v signin.Visit) (signin.Transaction, error)
	FinishSelf(ctx context.Context, id string, v signin.Visit) (signin.SelfEnd, error)
	Confirmers(ctx context.Context, a account.Account) []string
	BeginDeed(ctx context.Context, d signin.Deed, v signin.Visit, factor string) (factors.Challenge, error)
	AgainDeed(ctx context.Context, d signin.Deed, v signin.Visit, factor string) error
	ConfirmDeed(ctx context.Context, d signin.Deed, v signin.Visit, factor string, answer factors.Answer) (factors.Proof, error)
	Client(ctx context.Context, id string) (clients.Client, error)
	// Disavow ends everything of a person; e says how it was asked for.
	Disavow(ctx context.Context, id account.ID, e audit.Event) error
	// Know returns the known-device cookie that this browser should have for the person, "" if it has it.
	Know(ctx context.Context, id account.ID, v signin.Visit) (string, error)
}

// People reads accounts and the people behind them, and writes what people decide about their own.
type People interface {
	UpdateAccount(ctx context.Context, a account.Account) error // by version; else fault.ErrConflict
	Account(ctx context.Context, id account.ID) (account.Account, error)
	Person(ctx context.Context, id account.ID) (account.Person, error)
}

// Record is the audit record, written and read.
type Record interface {
	audit.Recorder
	audit.Lister
}

// TwoFactor switches; *enrolment.TwoFactor stands behind it.
type TwoFactor interface {
	On(ctx context.Context, s enrolment.Switching) error
	Off(ctx context.Context, s enrolment.Switching) error
}

// Passwords changes passwords; the password factor stands behind it.
type Passwords interface {
	Describe(ctx context.Context, id account.ID) (PasswordStatus, error)
	// Rules lists what a new password is held to.
	Rules(twoFactor bool) []PasswordRule
	// Check is the part of Prepare that compares no password: what cannot be right whoever asks, as *fault.Error in a
	// field. It is quick.
	Check(ctx context.Context, c PasswordChange) error
	// Prepare does the costly part outside any transaction. write stores the result, may run again, and runs inside of
	// one. A wrong Old is factors.ErrWrong inside a fault in its field.
	Prepare(ctx context.Context, c PasswordChange) (write func(context.Context) error, err error)
}

// PasswordStatus is what the pages show of a password, and never the password.
type PasswordStatus struct {
	Exists    bool
	ChangedAt time.Time
	Alone     bool // it may stand without two-factor authentication; true where there is none
}

// PasswordRule is one line of the list beside a new password: the sentence Key with the number N.
type PasswordRule struct {
	Key string
	N   any
}

// PasswordChange is a person's wish for a new password.
type PasswordChange struct {
	Account    account.ID
	Old, New   string
	WithoutOld bool // the session was proven by something else than a password
	TwoFactor  bool // the new one is held to the rules for accounts with two-factor authentication on
}

// Keys makes keyed values; the keys of signin.Flow serve.
type Keys interface {
	HashToken(token string) []byte
	Known(parts ...string) []byte
	CheckKnown(mac []byte, parts ...string) bool
}

// Handler serves /me.
type Handler struct{ Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	for _, missing := range []bool{c.Pages == nil, c.Signin == nil, c.Factors == nil, c.Sessions == nil, c.People == nil, c.Contacts == nil, c.Record == nil, c.Notices == nil, c.Consents == nil,
		c.Atomically == nil, c.TwoFactor == nil, c.Passwords == nil, c.Throttle == nil, c.Keys == nil, c.PhoneFactor == "", c.Now == nil} {
		if missing {
			return nil, errors.New("citizen: something is missing from the configuration")
		}
	}
	if !c.Pages.Has(page.In(Host, c.PhoneFactor+"/page")) {
		return nil, errors.New("citizen: the page of the factor " + c.PhoneFactor + " is not hosted by " + Host)
	}
	for _, f := range c.Factors.All(0) {
		name := f.Info().Name
		if _, ok := f.(factors.Enroller); !ok {
			continue
		}
		if ownPaths[name] {
			return nil, errors.New("citizen: a factor that people set up cannot be called " + name)
		}
		if !c.Pages.Has(page.In(FactorHost, name+"/manage")) {
			return nil, errors.New("citizen: the page manage of the factor " + name + " is not hosted by " + FactorHost)
		}
	}
	return &Handler{Config: c}, nil
}

// Mount adds the routes below /me.
func (h *Handler) Mount(r *mux.Router) {
	get := func(path string, show http.Handler) { r.Handle(path, show).Methods(http.MethodGet, http.MethodHead) }
	post := func(path string, save http.Handler) { r.Handle(path, save).Methods(http.MethodPost) }
	see := func(f action) http.Handler { return h.Pages.Get(h.signedIn(f)) }
	seeFresh := func(f action) http.Handler { return h.Pages.Get(h.signedIn(h.fresh(f))) }
	do := func(f action) http.Handler { return h.Pages.Post(h.signedIn(h.fresh(f))) }

	// Coming and going
	get("/me/enter", h.Pages.Get(h.enter))
	post("/me/sign-out", h.Pages.Post(h.signOut))
	get("/me/signed-out", h.Pages.Get(h.signedOut))
	get("/me/idle", h.Pages.Get(h.idle))
	post("/me/idle", h.Pages.Post(h.signedIn(h.stay)))

	// Looking
	get("/me", see(h.showAccount))
	get("/me/signins", see(h.showHistory))
	get("/me/sessions", see(h.showSessions))
	get("/me/two-factor", see(h.showTwoFactor))

	get("/me/notices", see(h.showNotices))
	get("/me/security", see(h.showSecurity))
	get(servicesPath, see(h.showServices))

	// "This was not me": nothing is asked, since it can only make things safer
	post("/me/not-me", h.Pages.Post(h.signedIn(h.disavow)))
	get(notice.Path, h.Pages.Get(h.askNotMe))
	post(notice.Path, h.Pages.Post(h.takeNotMe))
	get(disavowedPath, h.Pages.Get(h.afterDisavowed))

	// Changing: signed in within the last 15 minutes
	get("/me/sessions/others", seeFresh(h.askEndOthers))
	post("/me/sessions/others", do(h.endOthers))
	get("/me/sessions/{handle}", seeFresh(h.askEnd))
	post("/me/sessions/{handle}", do(h.end))
	get(servicesPath+"/{handle}", seeFresh(h.askWithdraw))
	post(servicesPath+"/{handle}", do(h.withdraw))
	get("/me/password", seeFresh(h.askPassword))
	post("/me/password", do(h.changePassword))
	get("/me/two-factor/on", seeFresh(h.askOn))
	post("/me/two-factor/on", do(h.acceptTerms))
	get("/me/two-factor/off", seeFresh(h.askOff))
	post("/me/two-factor/off", do(h.wantOff))
	get("/me/two-factor/{way:on|off}/code", seeFresh(h.askCode))
	post("/me/two-factor/{way:on|off}/code", do(h.switchTwoFactor))
	post("/me/two-factor/{way:on|off}/again", do(h.sendAgain))
	h.mountContact(r)
	h.mountReset(func(path string, f action) { get(path, seeFresh(f)) }, func(path string, f action) { post(path, do(f)) })
	get(accessPath, seeFresh(h.showAccess))
	get(accessPath+"/{factor:[a-z]{2,32}}", seeFresh(h.askAccess))
	post(accessPath, do(h.changeAccess))
	get("/me/security/{factor:[a-z]{2,32}}", seeFresh(h.showFactor))
	get("/me/security/{factor:[a-z]{2,32}}/{act:[a-z]{2,32}}", see(h.backToFactor))
	post("/me/security/{factor:[a-z]{2,32}}/{act:[a-z]{2,32}}", do(h.actFactor))
}

// mark is a word of ours in an address: that something was said or done in this session. Nobody else can make one, and it is
// worth nothing in another session.
func (h *Handler) mark(s session.Session, what ...string) string {
	return base64.RawURLEncoding.EncodeToString(h.Keys.Known(append([]string{"me", s.ID}, what...)...))
}

func (h *Handler) marked(mark string, s session.Session, what ...string) bool {
	b, err := base64.RawURLEncoding.DecodeString(mark)
	return err == nil && s.ID != "" && h.Keys.CheckKnown(b, append([]string{"me", s.ID}, what...)...)
}

// place is a network in the words of the reader.
func (h *Handler) place(network, lang string) string {
	if h.Place == nil || network == "" {
		return network
	}
	return h.Place(network, lang)
}

// event begins an audit event about the reader.
func (h *Handler) event(m me, name audit.Name, details map[string]string) audit.Event {
	id := string(m.account.ID)
	return audit.Event{At: h.Now(), Name: name, Outcome: "ok", Actor: id, Subject: id, Client: signin.Self, Session: m.session.ID,
		Request: m.visit.Request, Network: m.visit.Network, Agent: m.visit.Agent, Details: details}
}

// form shows a form again with what was wrong with it; what is nobody's mistake goes to the error page.
func (h *Handler) form(w http.ResponseWriter, r *http.Request, name string, v page.View, err error) error {
	if fault.KindOf(err) == fault.Internal {
		return err
	}
	f := h.Pages.Settle(w, r, err)
	v.Err, v.Values = f, r.PostForm
	status := page.Status(f)
	if f.Field != "" && (f.Kind == fault.Invalid || f.Kind == fault.Denied) {
		status = http.StatusUnprocessableEntity
	}
	return h.Pages.Render(w, r, status, name, v)
}
