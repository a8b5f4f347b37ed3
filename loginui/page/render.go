package page

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/web"
)

// Render writes a page. A page that fails halfway is not sent: the reader gets the error page instead.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, name string, v View) error {
	pg := p.pages[name]
	if pg == nil {
		return fmt.Errorf("page: there is no page %q", name)
	}
	if v.Lang == "" {
		v.Lang = p.Lang(r, "", nil)
	}
	f := p.frame(pg, v)
	f.RequestID = web.RequestID(r.Context())
	if v.Switch == "" && !v.NoSwitch {
		if f.Here = v.Here; f.Here == "" {
			f.Here = here(r)
		}
	}
	var body bytes.Buffer
	if err := pg.execute(&body, f); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	p.headers(w, v)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, err := w.Write(body.Bytes())
		p.log(r.Context(), err)
	}
	return nil
}

func (pg *page) execute(w io.Writer, f *Frame) error { return pg.sets[f.Lang].Execute(w, f) }

// log notes a reader who went away in the middle of a page; nobody needs to act.
func (p *Pages) log(ctx context.Context, err error) {
	if err != nil {
		p.Log.DebugContext(ctx, "page not delivered", "request", web.RequestID(ctx), "err", err)
	}
}

// policy is the content security policy up to form-action: nothing inline, nothing from elsewhere.
const policy = "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; manifest-src 'self'; script-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

// headers of every page. Referrer-Policy is same-origin, since no-referrer makes Chromium send Origin: null with our own
// forms, which the cross-origin guard would refuse.
func (p *Pages) headers(w http.ResponseWriter, v View) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Set("Content-Security-Policy", strings.Join(append([]string{policy}, sourceExpressions(v.FormActions)...), " "))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", permissions(v.Camera))
	h.Set("Cache-Control", "no-store")
	if p.Cookies.Secure {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	if v.Refresh > 0 {
		h.Set("Refresh", strconv.Itoa(int((v.Refresh+time.Second-1)/time.Second)))
	}
}

// features that no page needs.
var features = []string{"accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media",
	"fullscreen", "geolocation", "gyroscope", "hid", "idle-detection", "magnetometer", "microphone", "midi", "payment",
	"picture-in-picture", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"}

var permissionsWithout, permissionsCamera = joinPermissions(false), joinPermissions(true)

func permissions(camera bool) string {
	if camera {
		return permissionsCamera
	}
	return permissionsWithout
}

func joinPermissions(camera bool) string {
	var parts []string
	for _, f := range features {
		allowed := "()"
		if f == "camera" && camera {
			allowed = "(self)"
		}
		parts = append(parts, f+"="+allowed)
	}
	return strings.Join(append(parts, "publickey-credentials-create=(self)", "publickey-credentials-get=(self)"), ", ")
}

// FormActions turns registered redirect URIs into the origins that the form-action directive needs: Chromium checks the
// whole chain of redirects after a form. A native client's loopback port may be any (RFC 8252 §7.3), and its own scheme
// has no origin. An IPv6 address such as [::1] cannot be written as a source expression (CSP Level 3 §2.3.1: a host holds no
// brackets or colons), so its scheme stands for it; where the answer goes is decided by the registration all the same. further
// are origins as registered.
func FormActions(native bool, uris []string, further ...string) []string {
	var out []string
	for _, uri := range slices.Concat(uris, further) {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme == "" {
			continue
		}
		s := u.Scheme + ":"
		switch {
		case u.Scheme != "https" && u.Scheme != "http", strings.HasPrefix(u.Host, "["):
		case native && (u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost"):
			s += "//" + u.Hostname() + ":*"
		default:
			s += "//" + u.Host
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// sourceExpressions drops what is no source expression (CSP Level 3 §2.3.1): a stray ";" or space would end the directive.
// javascript: and data: lead nowhere a form may go.
func sourceExpressions(origins []string) []string {
	var out []string
	for _, o := range origins {
		scheme, _, ok := strings.Cut(o, ":")
		if !ok || !safeSource(o) || scheme == "javascript" || scheme == "data" || scheme == "blob" {
			continue
		}
		out = append(out, o)
	}
	return out
}

func safeSource(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(":/.-+*", c) >= 0:
		default:
			return false
		}
	}
	return s != "" && len(s) < 256
}
