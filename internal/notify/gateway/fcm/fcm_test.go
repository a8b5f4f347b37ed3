package fcm

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
	"github.com/kapi-id/kapi/internal/notify/gateway/push/pushtest"
)

// What each answer of the service means: for the message, for the device, for the access token. The whole way is tested in gateway/push.
func TestAnswer(t *testing.T) {
	code := func(c string) string {
		return `{"error":{"code":0,"message":"m","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + c + `"}]}}`
	}
	field := func(f string) string {
		return strings.Replace(code("INVALID_ARGUMENT"), "]", `,{"fieldViolations":[{"field":"`+f+`","description":"d"}]}]`, 1)
	}
	judge := func(ctx context.Context, rests *push.Rests, pass *push.Pass, a call.Answer, s push.Subscription, token string) *notify.Failure {
		return (&Gateway{rests: rests, pass: pass}).answer(ctx, a, s, token)
	}
	pushtest.Answers(t, 0, time.Hour, judge, map[string]pushtest.Answer{
		"taken":                          {Status: 200, Body: `{"name":"projects/p/messages/1"}`},
		"the app is gone":                {Status: 404, Body: code("UNREGISTERED"), Want: pushtest.Gone},
		"in small letters":               {Status: 404, Body: code("unregistered"), Want: pushtest.Gone},
		"a wrong project":                {Status: 404, Body: `{"error":{"status":"NOT_FOUND"}}`, Want: pushtest.NotSent},
		"a page of a proxy":              {Status: 404, Body: `<html>`, Want: pushtest.NotSent},
		"no such token":                  {Status: 400, Body: field("message.token"), Want: pushtest.Gone},
		"another argument":               {Status: 400, Body: field("message.data"), Want: pushtest.Refused},
		"a device of somebody else":      {Status: 403, Body: code("SENDER_ID_MISMATCH"), Want: pushtest.Refused},
		"forbidden":                      {Status: 403, Body: code("THIRD_PARTY_AUTH_ERROR"), Want: pushtest.NotSent},
		"the access token is over":       {Status: 401, Body: code("THIRD_PARTY_AUTH_ERROR"), Want: pushtest.NotSent, Renews: true},
		"too many":                       {Status: 429, Body: code("QUOTA_EXCEEDED"), Want: pushtest.Wait, Rests: true},
		"away":                           {Status: 503, Body: code("UNAVAILABLE"), Want: pushtest.NotSent},
		"failing":                        {Status: 500, Body: code("INTERNAL"), Want: pushtest.NotSent},
		"somewhere else":                 {Status: 307, Want: pushtest.NotSent},
		"a code that is not of the list": {Status: 500, Body: code("<script>"), Want: pushtest.NotSent},
	})
}
