package provider

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
)

// What ends at once is answered as at the callback, and leaves nothing that could be answered again; whatever is not clear goes by the
// pages, from the beginning.
func TestStraight(t *testing.T) {
	const to = "https://rp1.example/cb"
	type end = func(context.Context, signin.Transaction) error
	// ready is the transaction as a session completes it.
	ready := func(k *kit, t signin.Transaction) signin.Transaction {
		t.State, t.Account, t.Ceiling = signin.Ready, ayse, acr.High
		t.Proofs = append(t.Proofs, k.password(ayse), k.sms(ayse))
		t.Adopted, t.Session, t.SessionEnds = 2, uuid.NewString(), k.now().Add(time.Hour)
		return t
	}
	refused := func(t signin.Transaction) signin.Transaction {
		t.State, t.Refusal = signin.Refused, signin.Refusal{Error: "login_required"}
		return t
	}
	for name, tc := range map[string]struct {
		straight func(k *kit, t signin.Transaction, end end) (bool, error)
		params   []string
		code     bool   // the client gets one
		answer   string // else what the answer holds
		stored   bool   // the transaction waits for the pages
	}{
		"a page is owed":        {straight: func(*kit, signin.Transaction, end) (bool, error) { return false, nil }, answer: "/signin/", stored: true},
		"the session ended now": {straight: func(*kit, signin.Transaction, end) (bool, error) { return false, fault.ErrConflict }, answer: "/signin/", stored: true},
		"it ended midway": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) {
			return false, errors.Join(end(t0, ready(k, t)), fault.ErrConflict)
		}, answer: "/signin/", stored: true},
		"completed": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) { return true, end(t0, ready(k, t)) }, code: true},
		"tried twice by the database": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) {
			_ = k.Atomically(t0, func(ctx context.Context) error { _ = end(ctx, refused(t)); return fault.ErrConflict })
			return true, end(t0, ready(k, t))
		}, code: true},
		"refused": {straight: func(_ *kit, t signin.Transaction, end end) (bool, error) { return true, end(t0, refused(t)) }, answer: "error=login_required&state=s-1&iss="},
		"as a form": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) { return true, end(t0, ready(k, t)) },
			params: []string{"response_mode", "form_post"}, answer: "form " + to + " code="},
		"too low for the client": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) {
			t = ready(k, t)
			t.Ask.Must = acr.High
			return true, end(t0, t)
		}, answer: "error=unmet_authentication_requirements"},
		"still open":           {straight: func(_ *kit, t signin.Transaction, end end) (bool, error) { return true, end(t0, t) }, answer: "500 page "},
		"the database is away": {straight: func(*kit, signin.Transaction, end) (bool, error) { return false, fault.New(fault.Unavailable, "") }, answer: "503 page "},
		"the client went away": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) {
			delete(k.clients, "rp-basic")
			return true, end(t0, ready(k, t))
		}, answer: "410 page authorize.expired"},
		"another client's name": {straight: func(k *kit, t signin.Transaction, end end) (bool, error) {
			t.Ask.Client = signin.Self
			return true, end(t0, ready(k, t))
		}, answer: "410 page authorize.expired"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			var seen signin.Visit
			k.s.cfg.Straight = func(_ context.Context, t signin.Transaction, v signin.Visit, end func(context.Context, signin.Transaction) error) (bool, error) {
				seen = v
				if !bytes.Equal(v.Browser, t.Browser) || len(t.Browser) == 0 || t.State != signin.Open || t.Begun || t.Ask.Client != "rp-basic" {
					k.Errorf("%+v", t)
				}
				return tc.straight(k, t, end)
			}
			b := k.browser()
			b.cookies["__Host-kapi-session"] = "the session's token"
			r := httptest.NewRequest("GET", "/authorize?"+ask("rp-basic", to, tc.params...).Encode(), nil)
			r.Header.Set("User-Agent", "Browser/1.0")
			w := b.do(r)
			if seen.Session != "the session's token" || seen.Network != "192.0.2.7" || seen.Agent != "Browser/1.0" || seen.Request != "request-1" {
				t.Errorf("%+v", seen)
			}
			if tc.code {
				if len(k.grants) != 1 || k.count(audit.GrantIssued) != 1 {
					t.Errorf("%d grants, %d events", len(k.grants), k.count(audit.GrantIssued))
				}
				code := b.answer(w).Get("code")
				out := k.redeem("rp-basic", to, code)
				if got := k.claimsOf(out.text("id_token")); got["acr"] != acr.Substantial.String() || got["nonce"] != "n-1" {
					t.Errorf("%v", got)
				}
			} else if !strings.Contains(page(w), tc.answer) || strings.Contains(w.Header().Get("Location"), "code=") {
				t.Errorf("%s\nwant %s", page(w), tc.answer)
			}
			if w.Header().Get("Cache-Control") != "no-store" && w.Code == 303 {
				t.Error("the answer may be kept")
			}
			if got := len(k.transactions) == 1; got != tc.stored {
				t.Errorf("%d transactions at rest", len(k.transactions))
			}
			for _, at := range k.transactions {
				if at.State != signin.Open || at.Account != "" || len(at.Proofs) != 0 || !bytes.Equal(at.Browser, secret.Hash(b.cookies["__Host-kapi-browser"])) {
					t.Errorf("stored %+v", at)
				}
			}
		})
	}
}

var t0 = context.Background()
