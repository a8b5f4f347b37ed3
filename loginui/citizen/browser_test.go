package citizen

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

// browser is a person at a screen. It keeps cookies and follows nothing by itself.
type browser struct {
	*world
	cookies map[string]string
	lang    string
}

func (w *world) browser(token string) *browser {
	b := &browser{world: w, cookies: map[string]string{}, lang: "en"}
	if token != "" {
		b.cookies["kapi-session"] = token
	}
	return b
}

// answer is a response with its page read.
type answer struct {
	*httptest.ResponseRecorder
	htmlcheck.Node
	t *testing.T
}

func (b *browser) send(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://kapi.example"+path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	r.Header.Set("User-Agent", firefox)
	r.Header.Set("Accept-Language", b.lang)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	r = r.WithContext(web.WithClient(b.t.Context(), "request-1", netip.MustParseAddr("192.0.2.1")))
	rec := httptest.NewRecorder()
	b.router.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	n, err := htmlcheck.Parse(rec.Body.String())
	if err != nil {
		b.t.Fatal(err)
	}
	if strings.Contains(rec.Header().Get("Content-Type"), "html") && n.Has("main") {
		for _, bad := range htmlcheck.Rules(rec.Body.String()) {
			b.t.Errorf("%s %s: %s", method, path, bad)
		}
	}
	return answer{rec, n, b.t}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.send(http.MethodGet, path, nil) }
func (b *browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, form)
}

// submit sends the form of the page that leads to action, with these fields filled in.
func (b *browser) submit(a answer, action string, fields ...string) answer {
	b.t.Helper()
	f, err := a.Form(action)
	if err != nil {
		b.t.Fatal(err)
	}
	form := url.Values{}
	for k, v := range f.Fields {
		if k != "" {
			form.Set(k, v)
		}
	}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, action, form)
}

// to checks that the answer leads to a path and returns the whole of it.
func (a answer) to(prefix string) string {
	a.t.Helper()
	if l := a.Result().Header.Get("Location"); a.Code == http.StatusSeeOther && strings.HasPrefix(l, prefix) {
		return l
	}
	a.t.Fatalf("status %d to %q, want 303 to %s; page: %s", a.Code, a.Result().Header.Get("Location"), prefix, a.Text())
	return ""
}

// shows checks the status and that all these words are on the page.
func (a answer) shows(status int, parts ...string) answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("status %d to %q, want %d; page: %s", a.Code, a.Result().Header.Get("Location"), status, a.Text())
	}
	for _, p := range parts {
		if !strings.Contains(a.Text(), p) {
			a.t.Errorf("the page does not say %q: %s", p, a.Text())
		}
	}
	return a
}

func (a answer) hides(parts ...string) answer {
	a.t.Helper()
	for _, p := range parts {
		if strings.Contains(a.Body.String(), p) {
			a.t.Errorf("the page says %q: %s", p, a.Text())
		}
	}
	return a
}

// started returns the transaction that a redirect to a sign-in began.
func (b *browser) started(a answer) signin.Transaction {
	b.t.Helper()
	id := strings.TrimPrefix(a.to("/signin/"), "/signin/")
	t, ok := b.transactions[id]
	if !ok || t.Ask.Client != signin.Self || !bytes.Equal(t.Browser, secret.Hash(b.cookies["kapi-browser"])) {
		b.t.Fatalf("transaction %q: %+v", id, t)
	}
	return t
}

// signedIn finishes a transaction as the pages of the sign-in would, and comes back.
func (b *browser) signedIn(t signin.Transaction, owner account.ID) answer {
	b.t.Helper()
	t.State = signin.Ready
	t.Account = owner
	b.transactions[t.ID] = t
	b.cookies["kapi-session"] = b.session("new-"+t.ID[:8], owner, 0, true)
	return b.get("/me/enter?id=" + t.ID)
}
