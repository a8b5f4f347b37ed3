// Package bip owns the gateway to the messenger that an operator binds to its numbers (BiP's HTTP interface): one JSON request for
// each message, Basic authentication. Enter with New. It refuses redirects and plain HTTP beyond loopback.
package bip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Config of a gateway.
type Config struct {
	Name     string
	Address  string // https, or http on loopback; no credentials in it
	User     string
	Password string
	// Receiver is the type that the interface gives to a receiver named by number.
	Receiver int
}

// Number is the usual type of a receiver named by number.
const Number = 2

// Gateway posts messages.
type Gateway struct {
	c      Config
	client *http.Client
}

// New checks the configuration.
func New(c Config) (*Gateway, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("bip: want https://user:password@host/path")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, errors.New("bip: plain http only on loopback, since the text is a code")
	}
	if c.User == "" || c.Password == "" {
		return nil, errors.New("bip: user and password are missing")
	}
	return &Gateway{c: c, client: call.Client(nil)}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

func (g *Gateway) Name() string { return g.c.Name }

// request is what the interface takes.
type request struct {
	TxnID       string      `json:"txnid"`
	Receiver    receiver    `json:"receiver"`
	Composition composition `json:"composition"`
}

type receiver struct {
	Type    int    `json:"type"`
	Address string `json:"address"` // the number without its plus
}

type composition struct {
	List []item `json:"list"`
}

// item of type 0 is a text.
type item struct {
	Type    int    `json:"type"`
	Message string `json:"message"`
}

// Send posts m.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	body, err := json.Marshal(request{
		TxnID: m.ID, Receiver: receiver{Type: g.c.Receiver, Address: strings.TrimPrefix(m.To, "+")},
		Composition: composition{List: []item{{Message: m.Text}}},
	})
	if err != nil {
		return notify.Refused(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.c.Address, bytes.NewReader(body))
	if err != nil {
		return notify.NotSent(errors.New("the request cannot be made"), false) // err would repeat the address
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "kapi")
	r.SetBasicAuth(g.c.User, g.c.Password)
	a, f := call.Do(g.client, r)
	switch {
	case f != nil:
		return f
	case a.Status/100 == 2:
		return nil
	case a.Status == http.StatusBadRequest, a.Status == http.StatusNotFound, a.Status == http.StatusUnprocessableEntity: // nobody there by that number
		return notify.Refused(fmt.Errorf("status %d", a.Status))
	}
	return a.Failure()
}
