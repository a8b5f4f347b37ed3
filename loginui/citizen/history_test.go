package citizen

import (
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/kapi-id/kapi/internal/audit"
)

func TestHistory(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/signins").shows(http.StatusOK, "There is nothing here yet.")

	w.record("s1", ayse, audit.SigninFirst, "ok", 31, map[string]string{"factor": "password"})
	w.record("s1", ayse, audit.SigninSecond, "ok", 31, map[string]string{"factor": "code"})
	w.record("s1", ayse, audit.SigninCompleted, "ok", 30, map[string]string{"amr": "pwd sms mca mfa", "service": "As it was called"})
	w.record("", ayse, audit.SigninFirst, "wrong", 29, map[string]string{"factor": "password"})
	w.record("", ayse, audit.SigninSecond, "locked", 28, map[string]string{"factor": "code"})
	w.record("", ayse, audit.SigninFirst, "ok", 20, map[string]string{"factor": "password"})
	w.record("s1", ayse, audit.PasswordChanged, "ok", 3, nil)
	w.record("s9", ayse, audit.SessionEnded, "ok", 2, map[string]string{"reason": "self"})
	w.record("s2", ayse, audit.SessionEnded, "ok", 2, map[string]string{"reason": "there"})
	w.record("s1", ayse, audit.TokenIssued, "ok", 1, nil)
	w.record("", mehmet, audit.SigninFirst, "wrong", 1, map[string]string{"factor": "password"})
	w.events[3].Client, w.events[3].Network = "gone", "198.51.100.9"
	w.events[3].Details["service"] = "Old \u202eservice"

	a := b.get("/me/signins").shows(http.StatusOK, "Is there anything you do not recognise?", "198.51.100.9", "Old service", "Firefox, Linux")
	var told []string
	for _, row := range a.All("tbody tr") {
		told = append(told, row.All(".what strong")[0].Text())
	}
	want := []string{"Another session was signed out", "Password changed", "First step was right, sign-in not completed",
		"Too many wrong tries: refused during the waiting time", "Failed try", "Signed in"}
	if !slices.Equal(told, want) {
		t.Fatalf("told %q\nwant %q", told, want)
	}
	last := a.All("tbody tr")[5]
	if got := last.Text(); got != "4 Mar 2026, 11:30 Signed in password + security code by SMS This session SSI Portal 192.0.2.1 Firefox, Linux" {
		t.Errorf("sign-in reads %q", got)
	}
	b.lang = "tr"
	b.get("/me/signins").shows(http.StatusOK, "Girişler ve değişiklikler", "şifre + SMS ile güvenlik kodu", "SGK Portalı", "04.03.2026, 11:30")
}

// A first step belongs to the sign-in that the same browser completed within half an hour, and to no other.
func TestUnfinishedSignIns(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.record("", ayse, audit.SigninFirst, "ok", 100, map[string]string{"factor": "password"}) // long before
	w.record("", ayse, audit.SigninFirst, "ok", 12, map[string]string{"factor": "password"})  // by a stranger
	w.events[1].Network = "198.51.100.9"
	w.record("", ayse, audit.SigninFirst, "ok", 11, map[string]string{"factor": "password"})
	w.record("s1", ayse, audit.SigninCompleted, "ok", 10, map[string]string{"amr": "pwd"})
	a := b.get("/me/signins")
	if n := len(a.All("tbody tr")); n != 3 {
		t.Fatalf("%d entries, want the completed one and two that were not: %s", n, a.Text())
	}
	// The completed one is on the page before: its first step stays quiet on this one.
	before := w.now.Add(-10 * 60 * 1e9).UnixMicro()
	a = b.get("/me/signins?before=" + strconv.FormatInt(before, 10))
	if n := len(a.All("tbody tr")); n != 2 {
		t.Fatalf("%d entries on the next page, want 2: %s", n, a.Text())
	}
}

func TestHistoryPages(t *testing.T) {
	tests := []struct {
		name string
		fill func(w *world)
		want int
	}{
		{"one each minute", func(w *world) {
			for i := range 90 {
				w.record("", ayse, audit.SigninFirst, "wrong", i, map[string]string{"factor": "password"})
			}
		}, 90},
		{"all at once", func(w *world) {
			for i := range 50 {
				w.record("", ayse, audit.SigninFirst, "wrong", i/25, map[string]string{"factor": "password"})
			}
		}, 50},
		{"much that is dull between", func(w *world) {
			for i := range 200 {
				w.record("", ayse, audit.SigninSecond, "ok", i, nil)
			}
			for i := range 30 {
				w.record("", ayse, audit.SigninFirst, "wrong", 7*i, map[string]string{"factor": "password"})
			}
		}, 30},
		{"a flood of the dull", func(w *world) {
			for i := range chunk*rounds + 100 {
				w.record("", ayse, audit.SigninSecond, "ok", i, nil)
			}
			w.record("", ayse, audit.PasswordChanged, "ok", chunk*rounds+200, nil)
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser(w.session("s1", ayse, 0, true))
			tt.fill(w)
			path, got := "/me/signins", 0
			for pages := 0; path != ""; pages++ {
				if pages > 20 {
					t.Fatal("the pages do not end")
				}
				a := b.get(path).shows(http.StatusOK)
				got += len(a.All("tbody tr"))
				path = ""
				for _, l := range a.All(".links a") {
					if l.Text() == "Show older ones" {
						path = l.Attr("href")
					}
				}
			}
			if got != tt.want {
				t.Errorf("%d entries on all pages, want %d", got, tt.want)
			}
		})
	}
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	for _, before := range []string{"x", "-1", "0", "99999999999999999999", "1e3"} {
		b.get("/me/signins?before="+before).shows(http.StatusOK, "There is nothing here yet.")
	}
	b.get("/me/signins?before=5").shows(http.StatusOK, "There are no older entries.", "Back to the newest")
}

func TestMethods(t *testing.T) {
	tests := []struct {
		amr  []string
		want []string
	}{
		{nil, nil},
		{[]string{"pwd"}, []string{"me.method.pwd"}},
		{[]string{"pwd", "sms", "mca", "mfa"}, []string{"me.method.pwd", "me.method.sms"}},
		{[]string{"sc", "hwk", "pin", "sms", "mca", "mfa"}, []string{"me.method.sc", "me.method.sms"}},
		{[]string{"fed", "backup", "mfa"}, []string{"me.method.fed", "me.method.backup"}},
		{[]string{"<script>"}, nil},
	}
	for _, tt := range tests {
		if got := methods(tt.amr); !slices.Equal(got, tt.want) {
			t.Errorf("methods(%q) = %q, want %q", tt.amr, got, tt.want)
		}
	}
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	for _, v := range wordy {
		w.record("s1", ayse, audit.SigninCompleted, "ok", 0, map[string]string{"amr": v})
	}
	b.get("/me/signins").hides("me.method.", "me.event.")
}
