package web

import (
	"net/http"
	"net/netip"
	"strings"
)

// mostHops bounds the walk through X-Forwarded-For.
const mostHops = 16

// peerOf is the other end of the connection, the zero Addr if it has no IP address.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func (o *Options) trusts(ip netip.Addr) bool {
	for _, p := range o.Trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// forwarded walks X-Forwarded-For from the end, where our own proxies write, and returns the first address that none of
// them vouches for. Everything left of it is the client's own story. What cannot be read ends the walk at the last
// address that could.
func (o *Options) forwarded(peer netip.Addr, headers []string) netip.Addr {
	ip := peer
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= mostHops; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			return ip
		}
		ip = hop
		if !o.trusts(ip) {
			return ip
		}
	}
	return ip
}

// parseHop reads "192.0.2.1", "2001:db8::1" and both with a port, as some proxies write.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	ip, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		ip = ap.Addr()
	}
	return ip.Unmap().WithZone(""), true
}

// cleanID returns a proxy's request id if it is fit for a log line and a header, else "".
func cleanID(id string) string {
	if len(id) < 8 || len(id) > 64 {
		return ""
	}
	for _, c := range []byte(id) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return ""
		}
	}
	return id
}
