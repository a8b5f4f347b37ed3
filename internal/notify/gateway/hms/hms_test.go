package hms

import (
	"context"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
	"github.com/kapi-id/kapi/internal/notify/gateway/push/pushtest"
)

// What each answer of the service means: here the code counts more than the status. The whole way is tested in gateway/push.
func TestAnswer(t *testing.T) {
	code := func(c string) string { return `{"code":"` + c + `","msg":"m","requestId":"1"}` }
	judge := func(ctx context.Context, rests *push.Rests, pass *push.Pass, a call.Answer, s push.Subscription, token string) *notify.Failure {
		return (&Gateway{rests: rests, pass: pass}).answer(ctx, a, s, token)
	}
	pushtest.Answers(t, 0, time.Hour, judge, map[string]pushtest.Answer{
		"taken":                        {Status: 200, Body: code(sent)},
		"taken, says a broken gateway": {Status: 502, Body: code(sent), Want: pushtest.NotSent},
		"200 without a code":           {Status: 200, Body: `{}`, Want: pushtest.NotSent},
		"200 that is no JSON":          {Status: 200, Body: `<html>`, Want: pushtest.NotSent},
		"our one token is illegal":     {Status: 200, Body: code(someIllegal), Want: pushtest.Gone},
		"all tokens are invalid":       {Status: 400, Body: code(allInvalid), Want: pushtest.Gone},
		"no access token":              {Status: 200, Body: code(noAuth), Want: pushtest.NotSent, Renews: true},
		"the access token is over":     {Status: 401, Body: code(authExpired), Want: pushtest.NotSent, Renews: true},
		"401 without a code":           {Status: 401, Want: pushtest.NotSent, Renews: true},
		"no permission":                {Status: 200, Body: code(noPermission), Want: pushtest.Refused},
		"too large":                    {Status: 200, Body: code(tooLarge), Want: pushtest.Refused},
		"a wrong parameter":            {Status: 400, Body: code("80100003"), Want: pushtest.Refused},
		"another code with 200":        {Status: 200, Body: code("81000001"), Want: pushtest.NotSent},
		"too many":                     {Status: 429, Want: pushtest.Wait, Rests: true},
		"away":                         {Status: 503, Want: pushtest.NotSent},
		"failing":                      {Status: 500, Body: code("81000001"), Want: pushtest.NotSent},
		"a code that is none":          {Status: 500, Body: code("801<script>"), Want: pushtest.NotSent},
	})
}
