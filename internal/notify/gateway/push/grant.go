package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Post sends body as JSON, of a content type that may name its alphabet, with the token of pass, which comes back with the answer.
func Post(ctx context.Context, c *http.Client, pass *Pass, address, kind string, body any) (a call.Answer, token string, f *notify.Failure) {
	b, err := json.Marshal(body)
	if err != nil {
		return a, "", notify.Refused(err)
	}
	if token, f = pass.Get(ctx); f != nil {
		return a, "", f
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(b))
	if err != nil {
		return a, "", notify.NotSent(errors.New("the request cannot be made"), false)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", "kapi")
	r.Header.Set("Authorization", "Bearer "+token)
	a, f = call.Do(c, r)
	return a, token, f
}

// Grant asks a token endpoint (RFC 6749 §4.4.2, §5.1). The life of the token ends early enough that it does not run out on the way.
func Grant(ctx context.Context, c *http.Client, endpoint string, form url.Values) (token string, life time.Duration, f *notify.Failure) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, notify.NotSent(errors.New("the request cannot be made"), false)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "kapi")
	a, f := call.Do(c, r)
	if f != nil {
		return "", 0, f
	}
	if a.Status != http.StatusOK {
		f := a.Failure()
		return "", 0, f
	}
	var answer struct {
		Token   string `json:"access_token"`
		Seconds int64  `json:"expires_in"`
	}
	if json.Unmarshal(a.Body, &answer) != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n") {
		return "", 0, notify.NotSent(fmt.Errorf("status %d without a token", a.Status), false)
	}
	return answer.Token, max(time.Duration(min(answer.Seconds, 24*3600))*time.Second-time.Minute, 0), nil
}
