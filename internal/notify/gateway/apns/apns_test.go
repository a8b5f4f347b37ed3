package apns

import (
	"context"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
	"github.com/kapi-id/kapi/internal/notify/gateway/push/pushtest"
)

// What each answer of the service means, and that the provider token is changed for nothing but its age. The whole way is tested in
// gateway/push.
func TestAnswer(t *testing.T) {
	reason := func(r string) string { return `{"reason":"` + r + `","timestamp":1800000000000}` }
	judge := func(ctx context.Context, rests *push.Rests, pass *push.Pass, a call.Answer, s push.Subscription, token string) *notify.Failure {
		return (&Gateway{rests: rests, pass: pass}).answer(ctx, a, s, token)
	}
	pushtest.Answers(t, least, life, judge, map[string]pushtest.Answer{
		"taken":                       {Status: 200},
		"the app is gone":             {Status: 410, Body: reason("Unregistered"), Want: pushtest.Gone},
		"gone without a reason":       {Status: 410, Want: pushtest.Gone},
		"no device token":             {Status: 400, Body: reason("BadDeviceToken"), Want: pushtest.Gone},
		"a topic of ours":             {Status: 400, Body: reason("DeviceTokenNotForTopic"), Want: pushtest.Refused},
		"too large":                   {Status: 413, Body: reason("PayloadTooLarge"), Want: pushtest.Refused},
		"the provider token is over":  {Status: 403, Body: reason("ExpiredProviderToken"), Age: 21 * time.Minute, Want: pushtest.NotSent, Renews: true},
		"over, they say, and young":   {Status: 403, Body: reason("ExpiredProviderToken"), Age: 19 * time.Minute, Want: pushtest.NotSent},
		"a wrong provider token":      {Status: 403, Body: reason("InvalidProviderToken"), Age: 21 * time.Minute, Want: pushtest.NotSent},
		"too many provider tokens":    {Status: 429, Body: reason("TooManyProviderTokenUpdates"), Want: pushtest.Wait}, // ours, not this device's
		"too many for this device":    {Status: 429, Body: reason("TooManyRequests"), Want: pushtest.Wait, Rests: true},
		"away":                        {Status: 503, Body: reason("Shutdown"), Want: pushtest.NotSent},
		"failing":                     {Status: 500, Body: reason("InternalServerError"), Want: pushtest.NotSent},
		"a reason not of the list":    {Status: 500, Body: reason("<script>"), Want: pushtest.NotSent},
		"a page of a proxy":           {Status: 404, Body: `<html>`, Want: pushtest.NotSent},
		"a bad request, no JSON":      {Status: 400, Body: `BadDeviceToken`, Want: pushtest.Refused},
		"a path that Apple has moved": {Status: 301, Want: pushtest.NotSent},
	})
}
