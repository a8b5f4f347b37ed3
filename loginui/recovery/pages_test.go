package recovery

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
)

func newPages(t *testing.T) *page.Pages {
	t.Helper()
	catalogue, err := words.Load(page.Words(), Words(), os.DirFS("../../factors/password"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(page.Config{Catalogue: catalogue, Sources: []page.Source{Source()}, Issuer: "https://kapi.example", Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// every page in both languages, in each of its states, before and after a failed form.
func TestEveryPageInBothLanguages(t *testing.T) {
	pages := newPages(t)
	now := time.Now()
	code := func(change func(*codeData)) codeData {
		d := codeData{Action: "/a", Again: "/b", Change: "/c", Resend: now, Until: now.Add(time.Minute)}
		change(&d)
		return d
	}
	shown := map[string][]any{
		"start": {startData{Reasons: recovery.Reasons}, startData{From: "t1", Reasons: recovery.Reasons}}, "other": {startData{}},
		"identity": {stepData{Action: "/a"}}, "details": {stepData{Action: "/a", Change: "/c", Documents: account.DocumentTypes}}, "contact": {stepData{Action: "/a", Change: "/c"}},
		"code": {code(func(*codeData) {}), code(func(d *codeData) { d.Later, d.Sent = true, true }), code(func(d *codeData) { d.Mail, d.Change, d.Down = true, "", true }),
			code(func(d *codeData) { d.Resend = time.Time{} })},
		"password": {passwordData{Action: "/a", Rules: []recovery.PasswordRule{{Key: "password.rule.length", N: 15}}}},
		"done":     {endData{Back: "/me"}, endData{Back: "https://kapi.example/signin/x", Intruder: true}},
		"over":     {endData{Reason: recovery.StoppedTries}, endData{Reason: recovery.StoppedSIM}, endData{Reason: recovery.StoppedPerson}},
		"undo": {undoData{What: enrolment.HoldFactors, Link: "x"}, undoData{What: enrolment.HoldDevice, Link: "x"}, undoData{What: enrolment.HoldPhone, Link: "x"},
			undoData{What: enrolment.HoldEmail, Link: "x"}},
		"undo-code": {struct{}{}},
		"undone":    {undoData{What: enrolment.HoldFactors}, undoData{What: enrolment.HoldDevice}, undoData{What: enrolment.HoldPhone}, undoData{What: enrolment.HoldEmail}},
	}
	fields := map[string]string{"start": "reason", "identity": "national_id", "details": "document", "contact": "email", "code": "code", "password": "new_password", "undo-code": "code"}
	for name := range samples {
		states := shown[strings.TrimSuffix(name, ".html")]
		if len(states) == 0 {
			t.Errorf("%s is not shown here", name)
		}
		for i, data := range states {
			titles := map[string]string{}
			for _, lang := range []string{"tr", "en"} {
				for _, wrong := range []bool{false, true} {
					v := page.View{Lang: lang, Data: data, Service: &page.Service{Name: "S", Address: "s.example", Back: "https://kapi.example/signin/x"}}
					field := fields[strings.TrimSuffix(name, ".html")]
					if wrong && field == "" {
						continue
					}
					if wrong {
						v.Err = fault.New(fault.Invalid, "recovery.code.form").In(field)
					}
					rec := httptest.NewRecorder()
					if err := pages.Render(rec, httptest.NewRequest(http.MethodGet, "/", nil), 200, "recovery/"+strings.TrimSuffix(name, ".html"), v); err != nil {
						t.Fatal(err)
					}
					for _, bad := range htmlcheck.Rules(rec.Body.String()) {
						t.Errorf("%s %d %s: %s", name, i, lang, bad)
					}
					n, err := htmlcheck.Parse(rec.Body.String())
					if err != nil {
						t.Fatal(err)
					}
					if h1, _ := n.One("h1"); !wrong {
						if titles["tr"] == h1.Text() {
							t.Errorf("%s %d is not translated: %q", name, i, h1.Text())
						}
						titles[lang] = h1.Text()
					}
				}
			}
		}
	}
}

func TestStartPath(t *testing.T) {
	for in, want := range map[string]string{"": "/recover", "a1": "/recover?from=a1", "//evil": "/recover", "a b&c": "/recover?from=a+b%26c", `\\evil`: "/recover"} {
		if got := StartPath(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// No secret stands in a field again.
func TestKept(t *testing.T) {
	got := kept(map[string][]string{"national_id": {"1"}, "serial": {"2"}, "code": {"3"}, "new_password": {"4"}, "phone": {"5"}, "reason": {"6"}})
	if got.Get("serial")+got.Get("code")+got.Get("new_password") != "" || got.Get("national_id") != "1" || got.Get("phone") != "5" {
		t.Errorf("%v", got)
	}
}
