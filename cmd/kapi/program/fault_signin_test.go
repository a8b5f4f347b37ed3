package program_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// losing answers as a proxy does when a server dies on it: the n-th request from now on is worked off, or not even begun,
// and its answer is lost with every cookie in it.
type losing struct {
	n     atomic.Int64 // requests until one is lost; 0 or less: none
	lost  atomic.Int64
	early atomic.Bool // it dies before anything is done
}

func lose(k *testkapi.Kapi) *losing {
	l := &losing{}
	for _, a := range k.Replicas {
		inner := a.Handler
		a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if l.n.Add(-1) != 0 {
				inner.ServeHTTP(w, r)
				return
			}
			l.lost.Add(1)
			if !l.early.Load() {
				inner.ServeHTTP(httptest.NewRecorder(), r)
			}
			w.WriteHeader(http.StatusBadGateway)
		})
	}
	return l
}

// stubborn is a person, and a client, who do what people do when something breaks: reload, and begin anew at the service if
// that does not help. It returns what the client got at last.
type stubborn struct {
	t         *testing.T
	k         *testkapi.Kapi
	rp        *testkapi.RP
	number    string
	password  string
	phone     string
	broken    func() // called at each answer of 5xx
	failures  int
	beginning int
	old       int // messages of before
}

func (s *stubborn) signIn() testkapi.Tokens {
	t, k := s.t, s.k
	t.Helper()
	b := testkapi.NewBrowser(t)
	page := "" // the last one that was shown
	start := func() {
		s.beginning++
		page = ""
		b.Open(s.rp.URL())
	}
	start()
	for range 25 {
		switch {
		case b.Left() != nil:
			if tokens, ok := s.redeem(b); ok {
				return tokens
			}
			start()
		case b.Status >= 500:
			s.failures++
			s.broken()
			if page == "" {
				start()
				continue
			}
			b.Open(page)
			if b.Status < 500 && b.Left() == nil && b.Status >= 400 {
				start()
			}
		case strings.Contains(b.Body, `name="national_id"`):
			page = b.URL.String()
			b.Submit(map[string]string{"national_id": s.number, "password": s.password})
			if b.Cookie("kapi-session") != "" {
				t.Error("a session after one factor")
			}
		case strings.Contains(b.Body, `name="code"`):
			page = b.URL.String()
			eventually(t, "a code comes", func() bool { return len(k.Phone.Inbox(s.phone)) > s.old })
			texts := k.Phone.Inbox(s.phone)
			b.Submit(map[string]string{"code": texts[len(texts)-1][:6]})
		case strings.Contains(b.Text(), "You need a new code"): // the right one was used up, and nothing came of it
			k.Clock.Add(46 * time.Second)
			s.old = len(k.Phone.Inbox(s.phone))
			b.Press("Send the code again")
		default: // this sign-in is over
			k.Clock.Add(46 * time.Second)
			start()
		}
	}
	t.Fatalf("never got there; at %s (%d): %s", b.URL, b.Status, b.Text())
	return testkapi.Tokens{}
}

// redeem is what a client does: a request that broke is sent again; a code that is refused leads to the beginning.
func (s *stubborn) redeem(b *testkapi.Browser) (testkapi.Tokens, bool) {
	form := s.rp.Redemption(b)
	for range 4 {
		switch r := machinePost(s.t, s.k, s.rp, "/oauth/token", form); {
		case r.Status == http.StatusOK:
			return tokensOf(s.t, s.rp, r), true
		case r.Status >= 500:
			s.failures++
			s.broken()
		case oauthError(r) == "invalid_grant":
			return testkapi.Tokens{}, false
		default:
			s.t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	s.t.Fatal("the token endpoint never came back")
	return testkapi.Tokens{}, false
}

// goOn refreshes, again while it breaks.
func (s *stubborn) goOn(token string) string {
	for range 4 {
		r := refresh(s.t, s.k, s.rp, token)
		if r.Status < 500 {
			return member(s.t, r.Body, "refresh_token")
		}
		s.failures++
		s.broken()
	}
	s.t.Fatal("a refresh token is lost")
	return ""
}

func (s *stubborn) check(got testkapi.Tokens) {
	s.t.Helper()
	if got.Claims.ACR != substantial || !slices.Equal(got.Claims.AMR, []string{"pwd", "sms", "mca", "mfa"}) || len(got.Claims.Steps) != 2 {
		s.t.Errorf("acr %s, amr %v, steps %v", got.Claims.ACR, got.Claims.AMR, got.Claims.Steps)
	}
}

// crowd stores n people with two-factor on.
func crowd(k *testkapi.Kapi, n int) {
	var file []string
	for i := range n {
		file = append(file, somebody(5000+i, "the right one of all"))
	}
	k.People("[" + strings.Join(file, ",") + "]")
}

// O1: the server dies at each request of a sign-in in turn, before it or with the answer on its way; the person goes on at
// the other one.
func TestO1_DeathAtEachRequest(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		const requests = 14
		crowd(k, 2*requests)
		rp, l := refreshing(k, "ssi"), lose(k)
		lost := 0
		for i := range 2 * requests {
			k.Clock.Add(time.Minute)
			s := &stubborn{t: t, k: k, rp: rp, number: number(5000 + i), password: "the right one of all", phone: phoneOf(5000 + i), broken: func() {}}
			l.early.Store(i >= requests)
			l.lost.Store(0)
			l.n.Store(int64(i%requests + 1))
			got := s.signIn()
			s.check(got)
			s.goOn(s.goOn(got.RefreshToken))
			lost += int(l.lost.Load())
			if l.lost.Load() > 0 && s.failures == 0 {
				t.Errorf("request %d was lost and nobody noticed", i%requests+1)
			}
			l.n.Store(0)
		}
		if lost < 2*7 {
			t.Errorf("only %d answers were lost", lost)
		}
	})
}

// O1: each write of a sign-in fails in turn, inside the database: nothing of its step counts, and the step can be done again.
func TestO1_DeathAtEachWrite(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		points := [][2]string{{"INSERT", "signin_transactions"}, {"INSERT", "throttle_ladders"}, {"UPDATE", "signin_transactions"}, {"INSERT", "audit_pending"}, {"INSERT", "tickets"}, {"INSERT", "outbox"},
			{"UPDATE", "tickets"}, {"INSERT", "sessions"}, {"INSERT", "grants"}, {"UPDATE", "grants"}, {"INSERT", "access_tokens"}}
		crowd(k, len(points))
		rp, db := refreshing(k, "ssi"), owner(t, k)
		for i, point := range points {
			k.Clock.Add(time.Minute)
			heal := failpoint(t, k, db, point[0], point[1])
			healed := false
			s := &stubborn{t: t, k: k, rp: rp, number: number(5000 + i), password: "the right one of all", phone: phoneOf(5000 + i)}
			s.broken = func() {
				if !healed {
					heal()
				}
				healed = true
			}
			got := s.signIn()
			s.check(got)
			s.goOn(got.RefreshToken)
			if s.failures == 0 || !healed {
				t.Errorf("%v never failed", point)
			}
			// The person's own first page was good again: nobody has to begin anew because a write failed, but where there was
			// no page yet.
			if s.beginning > 1 && point[1] != "signin_transactions" && point[1] != "grants" {
				t.Errorf("%v: the person had to begin %d times", point, s.beginning)
			}
		}
	})
}

// O1: tries are counted before they are judged and stay counted, whoever dies with the answer.
func TestO1_CountersKeep(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, l := k.RP("ssi", nil), lose(k)
		b := testkapi.NewBrowser(t)
		page := b.Open(rp.URL()).Target("national_id")
		for range 5 {
			l.n.Store(1)
			if r := send(t, b, http.MethodPost, page, url.Values{"national_id": {mehmet}, "password": {"not this one at all"}}); r.Status != http.StatusBadGateway {
				t.Fatalf("%d", r.Status)
			}
		}
		k.Hashes.Store(0)
		b.Open(page).Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword}).See(wrongSignIn)
		if k.Hashes.Load() != 0 {
			t.Error("five lost answers were not counted")
		}
		k.Clock.Add(time.Minute)
		// The same for a code: five wrong ones, and the right one is dead.
		code := atTheCode(t, k, rp, ayse, aysePassword)
		right := k.Phone.Code(t, aysePhone, 1)
		for range 5 {
			l.n.Store(1)
			send(t, code, http.MethodPost, code.URL.String(), url.Values{"code": {other(right)}})
		}
		if r := send(t, code, http.MethodPost, code.URL.String(), url.Values{"code": {right}}); strings.Contains(r.Location, "callback") {
			t.Error("a sixth try was judged")
		}
	})
}

// tokensOf reads and verifies a token answer.
func tokensOf(t *testing.T, rp *testkapi.RP, r reply) testkapi.Tokens {
	t.Helper()
	m := jsonOf(t, r.Body)
	token := (&oauth2.Token{AccessToken: fmt.Sprint(m["access_token"]), RefreshToken: fmt.Sprint(m["refresh_token"])}).WithExtra(m)
	return rp.Verify(token, "")
}
