package citizen

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Row RC5: the page that unblocks asks for a recent first step, by whatever else the session was kept young, and no session answers that.
func TestRC5_UnblockingNeedsARecentFirstStep(t *testing.T) {
	for name, c := range map[string]struct {
		first, second time.Duration // ago
		want          bool
	}{
		"both a moment ago":    {0, 0, true},
		"the first one recent": {14 * time.Minute, 16 * time.Minute, true},
		"the second one alone": {16 * time.Minute, time.Minute, false},
		"neither":              {16 * time.Minute, 16 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.session("s1", ayse, 0, true)
			s := w.sessions["s1"]
			s.Proofs[0].At, s.Proofs[1].At = w.now.Add(-c.first), w.now.Add(-c.second)
			h := &Handler{Config{Pages: w.pages, Signin: w.flow, Keys: keys{}, Now: w.clock}}
			ran := false
			f := h.recent(func(http.ResponseWriter, *http.Request, me) error { ran = true; return nil })
			a := httptest.NewRecorder()
			if err := f(a, httptest.NewRequest(http.MethodGet, "/me/unblock", nil), me{session: s, account: w.accounts[ayse]}); err != nil {
				t.Fatal(err)
			}
			if ran != c.want {
				t.Fatalf("it runs: %v", ran)
			}
			if x := w.transactions[strings.TrimPrefix(a.Header().Get("Location"), "/signin/")]; !ran && (!x.Ask.Login || string(x.Ask.Return) != `"/me/unblock"`) {
				t.Errorf("%+v", x.Ask)
			}
		})
	}
}
