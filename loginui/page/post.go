package page

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
)

// Sentences of forms that cannot be read.
const (
	keyCrossOrigin = "form.cross_origin"
	keyTooLarge    = "form.too_large"
	keyMediaType   = "form.media_type"
	keyUnreadable  = "form.unreadable"
	keyTwice       = "form.twice"
	keyMethod      = "form.method"
)

// mostFields of a form; ours have a handful.
const mostFields = 100

// Get mounts a page that only shows something.
func (p *Pages) Get(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return fresh(web.Handle(h, p.Fault))
}

// fresh keeps redirects out of caches too: with the back button Chromium takes what it has stored, however old, and ends
// in a loop of redirects between what was owed then and what is owed now.
func fresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Post is the only way to mount a form. It refuses what another origin sent (Sec-Fetch-Site and Origin; a foreign page
// could otherwise sign its victim in, or out), what is no form, and a field given twice, of which two readers could
// read different ones. The handler finds the fields in r.PostForm.
func (p *Pages) Post(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return fresh(web.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if err := p.guard.Check(r); err != nil {
			return fault.Wrap(fault.Denied, keyCrossOrigin, err)
		}
		if err := readForm(w, r); err != nil {
			return err
		}
		return h(w, r)
	}, p.Fault))
}

func readForm(w http.ResponseWriter, r *http.Request) error {
	header := r.Header.Get("Content-Type")
	if header == "" && r.ContentLength == 0 {
		r.PostForm = url.Values{}
		return nil
	}
	kind, _, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return fault.Wrap(fault.Invalid, keyMediaType, err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, web.MaxBody)
	if err := r.ParseForm(); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return fault.Wrap(fault.Invalid, keyTooLarge, err)
		}
		return fault.New(fault.Invalid, keyUnreadable) // the error would quote the body
	}
	if len(r.PostForm) > mostFields {
		return fault.New(fault.Invalid, keyTooLarge)
	}
	for name, values := range r.PostForm {
		switch {
		case len(values) > 1:
			return fault.New(fault.Invalid, keyTwice)
		case !utf8.ValidString(name), !utf8.ValidString(values[0]), strings.ContainsRune(values[0], 0):
			return fault.New(fault.Invalid, keyUnreadable)
		}
	}
	return nil
}

// Local returns path if it leads to this site, else "/": "//elsewhere" and "/\elsewhere" do not.
func Local(path string) string {
	if len(path) > 2000 || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\r\n\t") || strings.HasPrefix(path, "//") {
		return "/"
	}
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil {
		return "/"
	}
	return path
}

// SwitchLanguage is POST /language: it remembers the language for a year and goes back to where the reader was.
func (p *Pages) SwitchLanguage() http.Handler {
	return p.Post(func(w http.ResponseWriter, r *http.Request) error {
		if err := p.RememberLanguage(w, r); err != nil {
			return err
		}
		http.Redirect(w, r, Local(r.PostForm.Get("to")), http.StatusSeeOther)
		return nil
	})
}

// RememberLanguage keeps the submitted lang in its cookie.
func (p *Pages) RememberLanguage(w http.ResponseWriter, r *http.Request) error {
	lang := r.PostForm.Get("lang")
	if lang != "tr" && lang != "en" {
		return fault.New(fault.Invalid, keyUnreadable)
	}
	p.Cookies.Set(w, web.LangCookie, lang, web.Year)
	return nil
}
