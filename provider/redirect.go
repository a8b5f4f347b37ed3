package provider

import (
	"strconv"
	"strings"

	"github.com/kapi-id/kapi/clients"
)

// redirectRegistered compares byte by byte (RFC 9700 §2.1). The one exception is RFC 8252 §7.3: a native client on the
// loopback address listens on whatever port the system gave it.
func redirectRegistered(c clients.Client, uri string) bool {
	for _, registered := range c.RedirectURIs {
		if uri == registered {
			return true
		}
		if c.Native && loopbackEqual(uri, registered) {
			return true
		}
	}
	return false
}

// loopbackEqual: both are http on the same loopback literal, and all but the port is equal. The strings are cut, not
// parsed, so that nothing a URL parser would forgive gets through.
func loopbackEqual(a, b string) bool {
	hostA, restA, okA := cutLoopback(a)
	hostB, restB, okB := cutLoopback(b)
	return okA && okB && hostA == hostB && restA == restB
}

func cutLoopback(uri string) (host, rest string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		after, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if port, isPort := strings.CutPrefix(after, ":"); isPort {
			end := strings.IndexAny(port, "/?#")
			if end < 0 {
				end = len(port)
			}
			if !isPortNumber(port[:end]) {
				return "", "", false
			}
			after = port[end:]
		}
		if after != "" && after[0] != '/' && after[0] != '?' { // "127.0.0.1.evil", "127.0.0.1@evil", a fragment
			return "", "", false
		}
		return host, after, true
	}
	return "", "", false
}

func isPortNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}
