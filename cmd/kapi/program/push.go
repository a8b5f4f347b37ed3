package program

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway"
	"github.com/kapi-id/kapi/internal/notify/gateway/apns"
	"github.com/kapi-id/kapi/internal/notify/gateway/fcm"
	"github.com/kapi-id/kapi/internal/notify/gateway/hms"
	"github.com/kapi-id/kapi/internal/notify/gateway/webpush"
	"github.com/kapi-id/kapi/internal/secret"
)

// pushSettings are what the settings say of push services. Web Push needs none of them.
type pushSettings struct {
	Inbox      string // the simulated phone, for native apps without a push service of their own here
	NoWeb      bool
	Hosts      []string // of further push services of browsers
	FCM        string   // key file of a service account
	APNs       string   // PEM
	APNsKeyID  string
	APNsTeam   string
	APNsTopics []string
	APNsTest   bool // apps that were not installed from the store
	HMS        string
}

// pushChannel is the channel of the outbox for one kind of push service.
func pushChannel(kind string) string { return notify.PushChannel(`{"kind":"` + kind + `"}`) }

// pushRoutes adds the push services, each kind with a channel of its own.
func (a *App) pushRoutes(routes map[string][]notify.Route) error {
	if given := a.Channels["push"]; given != nil { // a test's, for all kinds
		for _, kind := range notify.PushKinds {
			if routes[pushChannel(kind)] == nil {
				routes[pushChannel(kind)] = given
			}
		}
		return nil
	}
	gateways := map[string]func() (notify.Gateway, error){}
	if !a.Push.NoWeb {
		gateways[webpush.Kind] = a.webPush
	}
	if a.Push.FCM != "" {
		gateways[fcm.Kind] = func() (notify.Gateway, error) {
			return named("KAPI_PUSH_FCM")(fcm.New(fcm.Config{Name: "push-fcm", Account: []byte(a.Push.FCM), Now: a.now}))
		}
	}
	if a.Push.APNs != "" || a.Push.APNsKeyID != "" || a.Push.APNsTeam != "" || a.Push.APNsTopics != nil {
		gateways[apns.Kind] = a.apple
	}
	if a.Push.HMS != "" {
		gateways[hms.Kind] = func() (notify.Gateway, error) {
			return named("KAPI_PUSH_HMS")(hms.New(hms.Config{Name: "push-hms", Account: []byte(a.Push.HMS), Now: a.now}))
		}
	}
	for _, kind := range notify.PushKinds {
		if gateways[kind] == nil && a.Push.Inbox != "" && kind != webpush.Kind {
			gateways[kind] = func() (notify.Gateway, error) { return a.pushInbox(kind) }
		}
		if gateways[kind] == nil || routes[pushChannel(kind)] != nil {
			continue
		}
		g, err := gateways[kind]()
		if err != nil {
			return err
		}
		routes[pushChannel(kind)] = []notify.Route{{Gateway: g, Weight: 1}}
	}
	return nil
}

// named puts the setting that is wrong before an error of a gateway.
func named(setting string) func(g notify.Gateway, err error) (notify.Gateway, error) {
	return func(g notify.Gateway, err error) (notify.Gateway, error) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		return g, nil
	}
}

// webPush makes the gateway and the key of browsers' subscriptions. The key follows from one that all replicas share, sealed in the database.
func (a *App) webPush() (notify.Gateway, error) {
	key, err := webpush.NewKey(func(n int) []byte { return a.ring.MAC(secret.Push, "web push", strconv.Itoa(n)) })
	if err != nil {
		return nil, err
	}
	here := strings.HasPrefix(a.Issuer, "http://") // loopback, as takeIssuer saw to
	if !here && slices.ContainsFunc(a.Push.Hosts, webpush.OnLoopback) {
		return nil, errors.New("KAPI_PUSH_HOSTS: a push service on this machine is for an issuer on this machine")
	}
	contact := a.Issuer
	if here {
		contact = "mailto:kapi@localhost"
	}
	g, err := webpush.New(webpush.Config{Name: "push-webpush", Key: key, Contact: contact, Hosts: a.Push.Hosts, Loopback: here, Now: a.now})
	if err != nil {
		return nil, err
	}
	a.apps, a.posts = key.Public(), g.Takes
	return g, nil
}

func (a *App) apple() (notify.Gateway, error) {
	c := apns.Config{Name: "push-apns", Key: []byte(a.Push.APNs), KeyID: a.Push.APNsKeyID, Team: a.Push.APNsTeam, Topics: a.Push.APNsTopics, Now: a.now}
	if a.Push.APNsTest {
		c.Base = "https://api.sandbox.push.apple.com"
	}
	return named("KAPI_PUSH_APNS, KAPI_PUSH_APNS_KEY_ID, KAPI_PUSH_APNS_TEAM and KAPI_PUSH_APNS_TOPICS go together")(apns.New(c))
}

// pushInbox is the simulated phone as the push service of one kind.
func (a *App) pushInbox(kind string) (notify.Gateway, error) {
	r, err := gateway.Parse(a.Push.Inbox, gateway.Config{Channel: "push", Now: a.now, Log: a.log})
	if err == nil && len(r) != 1 {
		err = errors.New("one simulated phone")
	}
	if err != nil {
		return nil, fmt.Errorf("KAPI_PUSH: %w", err)
	}
	return renamed{r[0].Gateway, "push-" + kind}, nil
}

// renamed is a gateway under another name.
type renamed struct {
	notify.Gateway
	name string
}

func (r renamed) Name() string     { return r.name }
func (r renamed) Idempotent() bool { return true } // as the simulated phone is

// anyPush says whether pushes of some kind can be sent at all.
func anyPush(routes map[string][]notify.Route) bool {
	return slices.ContainsFunc(notify.PushKinds, func(kind string) bool { return len(routes[pushChannel(kind)]) > 0 })
}

// forget tells the factor that an address of an app is nobody's any more.
func (a *App) forget(ctx context.Context, m notify.Message) error {
	var errs []error
	for _, x := range a.registry.All(0) {
		if r, ok := x.(factors.Reacher); ok {
			errs = append(errs, r.Gone(ctx, m.Account, m.To))
		}
	}
	return errors.Join(errs...)
}

func takePushHosts(s *Settings, v string) error {
	if v == "off" {
		s.Push.NoWeb = true
		return nil
	}
	for h := range strings.SplitSeq(v, ",") {
		h = strings.TrimSpace(h)
		if !webpush.CheckHost(h) {
			return errors.New("KAPI_PUSH_HOSTS: want hosts like push.example.org or *.example.org, comma-separated, or off")
		}
		s.Push.Hosts = append(s.Push.Hosts, h)
	}
	return nil
}

func takePushTopics(s *Settings, v string) error {
	for t := range strings.SplitSeq(v, ",") {
		s.Push.APNsTopics = append(s.Push.APNsTopics, strings.TrimSpace(t))
	}
	return nil
}

func takePushInbox(s *Settings, v string) error {
	if u, err := url.Parse(strings.TrimPrefix(v, "inbox:")); err != nil || !strings.HasPrefix(v, "inbox:") || u.Host == "" {
		return errors.New("KAPI_PUSH: want inbox:http://127.0.0.1:8082, the simulated phone")
	}
	s.Push.Inbox = v
	return nil
}
