package clients

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// redirects checks the addresses that answers go to and derives the sector and the origins for CORS.
func (c *checker) redirects() {
	d := &c.doc
	if code := c.grants("authorization_code"); code && len(d.RedirectURIs) == 0 {
		c.bad("redirect_uris", "is empty; the grant authorization_code needs at least one address to answer to")
	} else if !code && len(d.RedirectURIs)+len(d.PostLogoutURIs) > 0 {
		c.bad("redirect_uris", "has no use without the grant authorization_code; remove it and post_logout_redirect_uris, or add the grant")
	}
	before := len(c.problems)
	c.each("redirect_uris", d.RedirectURIs, mostURIs, c.uri)
	if len(c.problems) == before {
		c.derive()
	}
	c.each("post_logout_redirect_uris", d.PostLogoutURIs, mostURIs, c.uri)
}

// uri checks one address. They are compared byte for byte later, so what could be written in two ways is refused here.
func (c *checker) uri(path, s string) {
	if len(s) > mostURI {
		c.bad(path, "is longer than %d bytes", mostURI)
		return
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\\\"<>^`{|}", r) }) {
		c.bad(path, "%+.80q holds a character that does not belong in an address (a space, a backslash, a letter that is not ASCII); percent-encode it, write a host as xn--…", s)
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "":
		c.bad(path, "%.80q is no absolute address; write it in full, e.g. \"https://portal.example/cb\"", s)
	case strings.Contains(s, "#"):
		c.bad(path, "holds a fragment (#…), which answers cannot carry; remove it") // RFC 6749 §3.1.2
	case u.User != nil:
		c.bad(path, "holds a user name (…@); remove it")
	case strings.Contains(u.Scheme, "."):
		c.privateURI(path, u)
	case u.Scheme != "https" && u.Scheme != "http":
		c.bad(path, "%.20q is no scheme an answer may go to; use https%s", u.Scheme, nativeHint(c.doc.Application))
	case u.Opaque != "" || u.Host == "" || !hostOK(u):
		c.bad(path, "%.80q has no proper host", s)
	case hasDots(u.EscapedPath()):
		c.bad(path, "holds /./ or /../ in its path; write the path out")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.bad(path, "http is for loopback only; use https")
	case u.Scheme == "https" && c.doc.Application == "native":
		c.bad(path, "a native client is answered at http://127.0.0.1, http://[::1] or a scheme of its own, e.g. \"org.example.app:/cb\" (RFC 8252 §7)")
	}
}

func nativeHint(application string) string {
	if application == "native" {
		return `, or a scheme of the app's own with a dot in it, e.g. "org.example.app:/cb"`
	}
	return ""
}

// privateURI checks an address with a scheme of the app's own: a domain name in reverse (RFC 8252 §7.1), so that neither
// javascript: nor data: nor another app's short name passes.
func (c *checker) privateURI(path string, u *url.URL) {
	switch {
	case c.doc.Application != "native":
		c.bad(path, "a scheme of its own is for application_type native; use https")
	case u.Opaque != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/"):
		c.bad(path, "write it with one slash: %q", u.Scheme+":/cb")
	case hasDots(u.EscapedPath()):
		c.bad(path, "holds /./ or /../ in its path; write the path out")
	}
}

// hasDots: a dot segment, encoded or not, which a browser resolves before it asks.
func hasDots(path string) bool {
	path = strings.ReplaceAll(strings.ToLower(path), "%2e", ".")
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." })
}

// hostOK: a name or an IP address and perhaps a port. Stricter than net/url, since hosts go into a
// Content-Security-Policy, where ; and ' would write a policy of their own.
func hostOK(u *url.URL) bool {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	return host != "" && strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == "" &&
		!strings.HasPrefix(host, ".") && !strings.Contains(host, "..") && !strings.HasSuffix(u.Host, ":")
}

// loopback: the names that never leave the machine (RFC 8252 §7.3; localhost by RFC 6761 §6.3).
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && !ip.Is4In6()
}

// derive computes what follows from the redirect URIs. The sector is their host (OpenID Connect Core §8.1); a native
// client's loopback host or private scheme belongs to nobody in particular, so its sector is the client itself.
func (c *checker) derive() {
	d := &c.doc
	var hosts []string
	for _, s := range d.RedirectURIs {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			continue
		}
		if h := strings.ToLower(u.Hostname()); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
		if o, err := origin(s); err == nil && d.AuthMethod == "none" && !slices.Contains(c.origins, o) {
			c.origins = append(c.origins, o)
		}
	}
	switch {
	case d.Application == "native":
		c.sector = "client:" + d.ID
	case len(hosts) > 1 && d.SubjectType == "pairwise":
		c.bad("redirect_uris", "%s: a pairwise sub belongs to one host (OpenID Connect Core §8.1). Register one client for each host, or set subject_type to \"public\"", list(hosts))
	case len(hosts) > 0:
		c.sector = hosts[0]
	}
}
