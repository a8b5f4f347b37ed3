package webpush

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// guard keeps requests from going where no push service is.
type guard struct {
	hosts    []string
	loopback bool
	resolver *net.Resolver // nil = the system's
}

var hostForm = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// CheckHost says whether h may stand in a list of hosts: a name or an address of loopback in lower case, or *. before a name with a dot.
func CheckHost(h string) bool {
	rest, wild := strings.CutPrefix(h, "*.")
	return hostForm.MatchString(h) && len(h) <= 253 && (!wild || strings.Contains(rest, "."))
}

// OnLoopback says whether h is a name of this machine.
func OnLoopback(h string) bool {
	ip, err := netip.ParseAddr(h)
	return h == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// listed says whether a host is one of the push services.
func (g *guard) listed(host string) bool {
	for _, h := range g.hosts {
		if suffix, wild := strings.CutPrefix(h, "*"); h == host || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return true
		}
	}
	return false
}

// endpoint reads an address; ok is false for one that is not posted to.
func (g *guard) endpoint(address string) (host string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || len(address) > 1024 || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return "", false
	}
	host = u.Hostname()
	switch {
	case !g.listed(host):
		return "", false
	case OnLoopback(host):
		return host, g.loopback && (u.Scheme == "https" || u.Scheme == "http")
	}
	return host, u.Scheme == "https" && (u.Port() == "" || u.Port() == "443")
}

// dial connects to a push service. Whoever can answer for its name must not lead us inside, so the address that the name turned out to
// be is looked at, at the last moment. Any other host can only be the proxy that the operator set.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second, Resolver: g.resolver}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if g.listed(host) || !proxied() {
		d.Control = g.control
	}
	return d.DialContext(ctx, network, address)
}

// proxied says whether the environment names a proxy.
func proxied() bool {
	r := &http.Request{URL: &url.URL{Scheme: "https", Host: "push.example.org"}}
	u, err := http.ProxyFromEnvironment(r)
	return err == nil && u != nil
}

var errInside = errors.New("the push service is at an address inside")

func (g *guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !(outside(at.Addr()) || g.loopback && at.Addr().Unmap().IsLoopback()) {
		return errInside
	}
	return nil
}

// inside are prefixes that are nobody's on the internet, beside those that netip knows (RFC 6890, and the ones through which IPv6
// leads to IPv4).
var inside = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10", "::/96")

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// outside says whether an address is on the internet.
func outside(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range inside {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
