// Package inbox owns the gateway to the simulated phone of the demo and the tests. Enter with New. It refuses nothing but a
// host that is not a test's: plain HTTP only to loopback or to a name without a domain.
package inbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Gateway posts messages to a phone.
type Gateway struct {
	name, url, from string
	client          *http.Client
}

// New returns a gateway of that name to the phone at base, e.g. "http://127.0.0.1:8082".
func New(name, base, from string) (*Gateway, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("inbox: want inbox:http://host:port")
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	if err == nil && !ip.IsLoopback() || err != nil && strings.Contains(host, ".") {
		return nil, errors.New("inbox: the simulated phone is on loopback, or has a name without a domain")
	}
	return &Gateway{name: name, url: "http://" + u.Host + "/inbox", from: from, client: call.Client(nil)}, nil
}

func (g *Gateway) Name() string { return g.name }

// Idempotent: the phone keeps a second message with the same key once.
func (g *Gateway) Idempotent() bool { return true }

// Send posts m.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	channel, to := m.Channel, m.To
	if strings.HasPrefix(channel, "push") { // to an app of the phone, whatever push service it has
		var s struct{ Kind, Token, Endpoint string }
		if json.Unmarshal([]byte(to), &s) != nil || s.Token+s.Endpoint == "" {
			return notify.Gone(errors.New("no subscription"))
		}
		at := s.Token + s.Endpoint
		channel, to = "push", s.Kind+" …"+at[max(0, len(at)-8):]
	}
	body, err := json.Marshal(map[string]string{"channel": channel, "from": g.from, "to": to, "text": m.Text})
	if err != nil {
		return notify.Refused(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(body))
	if err != nil {
		return notify.NotSent(err, false)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", m.ID)
	a, f := call.Do(g.client, r)
	switch {
	case f != nil:
		return f
	case a.Status/100 == 2:
		return nil
	case a.Status == http.StatusBadRequest:
		return notify.Refused(errors.New("status 400"))
	}
	return a.Failure()
}
