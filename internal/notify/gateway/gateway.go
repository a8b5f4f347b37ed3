// Package gateway owns the lists of message gateways that an operator writes into KAPI_SMS, KAPI_SIM_MESSAGE, KAPI_MESSENGER and
// KAPI_MAIL. Enter with Parse. It refuses
// what it does not know, and no error of it repeats what was written, since that may be a password.
package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/bip"
	"github.com/kapi-id/kapi/internal/notify/gateway/inbox"
	"github.com/kapi-id/kapi/internal/notify/gateway/mail"
	"github.com/kapi-id/kapi/internal/notify/gateway/smpp"
	"github.com/kapi-id/kapi/internal/notify/gateway/webhook"
)

// Config is what the gateways need besides their addresses.
type Config struct {
	Channel   string // "sms" (or ""), "sim", "messenger", "mail" or "push": which kinds of gateways there are
	Template  string // file for https gateways without #template=…
	Log       *slog.Logger
	Now       func() time.Time
	OnReceipt func(gateway, state string) // delivery receipts, for metrics; nil = only logged
}

// Sender is what a message shows to come from where #from=… says nothing else.
const Sender = "KAPI"

// Parse reads a comma-separated list, most preferred first, as described in deploy/sms/README.md:
//
//	inbox:http://127.0.0.1:8082
//	smpp://user:password@host:port#from=KAPI&weight=1
//	https://host/path#template=/etc/kapi/sms/json.json
//
// for the messenger, and for e-mail:
//
//	https://user:password@host/path
//	smtp://user:password@host:587?from=kapi@example.org&sender=Kapi
//
// The first gateway has weight 1, the others 0: they stand by.
func Parse(list string, c Config) ([]notify.Route, error) {
	var routes []notify.Route
	names := map[string]bool{}
	for i, entry := range strings.Split(list, ",") {
		r, err := parse(strings.TrimSpace(entry), i, c)
		if err != nil {
			return nil, fmt.Errorf("gateway %d: %w", i+1, err)
		}
		if n := r.Gateway.Name(); names[n] {
			return nil, fmt.Errorf("gateway %d: a second gateway named %s; add #name=…", i+1, n)
		}
		names[r.Gateway.Name()] = true
		routes = append(routes, r)
	}
	return routes, nil
}

// options that each kind takes behind the #.
var options = map[string][]string{
	"inbox": {"from", "weight", "most", "name"},
	"smpp":  {"from", "weight", "most", "name", "system_type", "validity"},
	"http":  {"from", "weight", "most", "name", "template"},
	"bip":   {"weight", "most", "name", "receiver_type"},
	"smtp":  {"weight", "most", "name"},
}

func parse(entry string, place int, c Config) (notify.Route, error) {
	address, fragment, _ := strings.Cut(entry, "#")
	kind, build := kindOf(c.Channel, address)
	if build == nil {
		return notify.Route{}, errors.New("want " + wanted[c.Channel])
	}
	o, err := url.ParseQuery(fragment)
	if err != nil {
		return notify.Route{}, errors.New("what stands behind the # is no list of name=value")
	}
	for name, values := range o {
		if !slices.Contains(options[kind], name) {
			return notify.Route{}, fmt.Errorf("unknown option; there are %s", strings.Join(options[kind], ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return notify.Route{}, fmt.Errorf("option %s: one value", name)
		}
	}
	r := notify.Route{}
	if place == 0 {
		r.Weight = 1
	}
	if r.Weight, err = small(o, "weight", r.Weight, 0); err != nil {
		return r, err
	}
	if r.Most, err = small(o, "most", 0, 1); err != nil {
		return r, err
	}
	if !o.Has("from") {
		o.Set("from", Sender)
	}
	if !o.Has("name") {
		name := kind
		if c.Channel != "" && c.Channel != "sms" { // a gateway's name stands for it in metrics, whatever the channel
			name = c.Channel + "-" + kind
		}
		o.Set("name", name)
	}
	if !label.MatchString(o.Get("name")) {
		return r, errors.New("option name: lower-case letters, digits and hyphens")
	}
	r.Gateway, err = build(address, o, c)
	return r, err
}

var label = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// builder makes a gateway of one kind.
type builder func(address string, o url.Values, c Config) (notify.Gateway, error)

// wanted says what a list may hold, by channel.
var wanted = map[string]string{
	"": overAir, "sms": overAir, "sim": overAir,
	"messenger": "inbox:http://… or https://user:password@host/path",
	"mail":      "inbox:http://…, smtp://… or smtps://…",
	"push":      "inbox:http://…",
}

const overAir = "inbox:http://…, smpp://…, smpps://… or https://…"

func kindOf(channel, address string) (string, builder) {
	web := strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
	switch {
	case strings.HasPrefix(address, "inbox:"):
		return "inbox", newInbox
	case channel == "messenger" && web:
		return "bip", newMessenger
	case channel == "mail" && (strings.HasPrefix(address, "smtp://") || strings.HasPrefix(address, "smtps://")):
		return "smtp", newMail
	case channel == "messenger" || channel == "mail" || channel == "push":
		return "", nil
	case strings.HasPrefix(address, "smpp://"), strings.HasPrefix(address, "smpps://"):
		return "smpp", newSMPP
	case web:
		return "http", newWebhook
	}
	return "", nil
}

// small reads a number from least to 100.
func small(o url.Values, name string, def, least int) (int, error) {
	if !o.Has(name) {
		return def, nil
	}
	n, err := strconv.Atoi(o.Get(name))
	if err != nil || n < least || n > 100 {
		return 0, fmt.Errorf("option %s: a number from %d to 100", name, least)
	}
	return n, nil
}

func newInbox(address string, o url.Values, _ Config) (notify.Gateway, error) {
	return inbox.New(o.Get("name"), strings.TrimPrefix(address, "inbox:"), o.Get("from"))
}

func newSMPP(address string, o url.Values, c Config) (notify.Gateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil || u.Path != "" || u.RawQuery != "" {
		return nil, errors.New("smpp: want smpp://user:password@host:port, reserved characters percent-encoded")
	}
	password, _ := u.User.Password()
	validity := o.Get("validity")
	if validity != "" && validity != "off" {
		return nil, errors.New("option validity: only off")
	}
	name := o.Get("name")
	return smpp.New(smpp.Config{
		Name: name, Address: u.Host, User: u.User.Username(), Password: password, SystemType: o.Get("system_type"), From: o.Get("from"),
		TLS: u.Scheme == "smpps", NoValidity: validity == "off", Log: c.Log, Now: c.Now,
		OnReceipt: func(state string) {
			if c.OnReceipt != nil {
				c.OnReceipt(name, state)
			}
		},
	})
}

func newWebhook(address string, o url.Values, c Config) (notify.Gateway, error) {
	file := o.Get("template")
	if file == "" {
		file = c.Template
	}
	if file == "" {
		return nil, errors.New("an https gateway needs a template file: #template=FILE or KAPI_SMS_TEMPLATE")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := webhook.Parse(b, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return os.ReadFile(name)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return webhook.New(o.Get("name"), address, o.Get("from"), t, c.Now)
}

func newMessenger(address string, o url.Values, _ Config) (notify.Gateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil, errors.New("want https://user:password@host/path, reserved characters percent-encoded")
	}
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User = nil
	receiver, err := small(o, "receiver_type", bip.Number, 0)
	if err != nil {
		return nil, err
	}
	return bip.New(bip.Config{Name: o.Get("name"), Address: u.String(), User: user, Password: password, Receiver: receiver})
}

func newMail(address string, o url.Values, c Config) (notify.Gateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.Path != "" {
		return nil, errors.New("want smtp://user:password@host:port?from=kapi@example.org, reserved characters percent-encoded")
	}
	q := u.Query()
	for name, values := range q {
		if name != "from" && name != "sender" || len(values) != 1 {
			return nil, errors.New("smtp: behind the ? stand from=ADDRESS and sender=NAME, once each")
		}
	}
	m := mail.Config{Name: o.Get("name"), Host: u.Hostname(), Port: 587, Implicit: u.Scheme == "smtps", From: q.Get("from"), Sender: q.Get("sender"), Now: c.Now}
	if m.Implicit {
		m.Port = 465
	}
	if p := u.Port(); p != "" {
		if m.Port, err = strconv.Atoi(p); err != nil {
			return nil, errors.New("smtp: the port is no number")
		}
	}
	if u.User != nil {
		m.User = u.User.Username()
		m.Password, _ = u.User.Password()
	}
	return mail.New(m)
}
