// Package pushtest is the common test of how gateways read the answers of push services. Enter with Answers. It refuses an error
// that repeats a device or what a stranger wrote.
package pushtest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
)

// Answer of a service, and what it means.
type Answer struct {
	Status int
	Body   string
	Age    time.Duration   // of the access token
	Want   *notify.Failure // without Err; nil = taken
	Renews bool            // the access token is another one from here on
	Rests  bool            // the device is left alone for a while
}

// The usual failures.
var (
	Gone    = &notify.Failure{Certain: true, Final: true, Gone: true}
	Refused = &notify.Failure{Certain: true, Final: true}
	NotSent = &notify.Failure{Certain: true}
	Wait    = &notify.Failure{Certain: true, RetryAfter: time.Minute}
)

// Judge reads one answer, as a gateway with these parts does.
type Judge func(ctx context.Context, rests *push.Rests, pass *push.Pass, a call.Answer, s push.Subscription, token string) *notify.Failure

// Answers holds a gateway against a table. least and life are those of its access tokens.
func Answers(t *testing.T, least, life time.Duration, judge Judge, table map[string]Answer) {
	for name, a := range table {
		t.Run(name, func(t *testing.T) {
			at := time.Unix(1_800_000_000, 0)
			now := func() time.Time { return at }
			made := 0
			rests := &push.Rests{Now: now}
			pass := &push.Pass{Now: now, Least: least, Make: func(context.Context) (string, time.Duration, *notify.Failure) {
				made++
				return "token", life, nil
			}}
			token, _ := pass.Get(t.Context())
			at = at.Add(a.Age)
			f := judge(t.Context(), rests, pass, call.Answer{Status: a.Status, Header: http.Header{}, Body: []byte(a.Body)}, push.Subscription{Token: "the-device"}, token)
			if f != nil {
				if said := f.Err.Error(); strings.Contains(said, "the-device") || strings.Contains(said, "<") {
					t.Errorf("the log gets %q", said)
				}
				f.Err, f.Here = nil, false
			}
			if (f == nil) != (a.Want == nil) || f != nil && *f != *a.Want {
				t.Errorf("%+v, want %+v", f, a.Want)
			}
			_, _ = pass.Get(t.Context())
			if (made == 2) != a.Renews {
				t.Errorf("%d access tokens", made)
			}
			if r := rests.Left("the-device") > 0; r != a.Rests || rests.Left("another") > 0 {
				t.Errorf("the device is left alone: %t", r)
			}
		})
	}
}
