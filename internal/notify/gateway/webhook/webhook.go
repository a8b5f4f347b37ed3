// Package webhook owns the gateway to any vendor with an HTTP interface: a template file says what its request looks like and
// which answers mean what, so a new vendor needs no code. Enter with Parse and New. It refuses redirects, plain HTTP
// beyond loopback, unknown members and placeholders, and values that would break out of the place they stand in.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Gateway sends messages as its template says.
type Gateway struct {
	name     string
	url      *url.URL
	from     string
	template *Template
	client   *http.Client
	now      func() time.Time
}

// New returns a gateway of that name to the vendor's address, https or http on loopback.
func New(name, address, from string, t *Template, now func() time.Time) (*Gateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("webhook: want https://host/path; credentials belong into the template's secrets")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, errors.New("webhook: plain http only on loopback, since the text is a code")
	}
	return &Gateway{name: name, url: u, from: from, template: t, client: call.Client(t.roots), now: now}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

func (g *Gateway) Name() string { return g.name }

// Idempotent says whether the vendor drops a second message with the same key.
func (g *Gateway) Idempotent() bool { return g.template.file.IdempotencyHeader != "" }

// Send makes the request and reads the answer as the template says.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	r, err := g.request(ctx, message{Message: m, from: g.from, left: m.Deadline.Sub(g.now())})
	if err != nil {
		return notify.Refused(err)
	}
	a, f := call.Do(g.client, r)
	if f != nil {
		return f
	}
	switch file := g.template.file; {
	case file.Refused.given() && file.Refused.matches(a.Status, a.Body):
		return notify.Refused(fmt.Errorf("status %d, and the vendor refuses the message", a.Status))
	case file.Success.matches(a.Status, a.Body):
		return nil
	case a.Status/100 == 2:
		return notify.NotSent(fmt.Errorf("status %d, but the body is no success", a.Status), false)
	}
	return a.Failure()
}

func (g *Gateway) request(ctx context.Context, m message) (*http.Request, error) {
	t := g.template
	u := *g.url
	if len(t.query) > 0 {
		q := t.values(t.query, m).Encode()
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+q, "&")
	}
	body, kind, err := t.body(m)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, t.file.Method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made") // err would repeat the address
	}
	for name, x := range t.headers {
		v := t.render(x, m, raw)
		if !printable(v) {
			return nil, fmt.Errorf("header %s: a value with control characters", name)
		}
		r.Header.Set(name, v)
	}
	if t.user != nil {
		r.SetBasicAuth(t.render(t.user, m, raw), t.render(t.pass, m, raw))
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if h := t.file.IdempotencyHeader; h != "" {
		r.Header.Set(h, m.ID)
	}
	r.Header.Set("User-Agent", "kapi")
	return r, nil
}
