package page

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
)

// View is what a handler gives to a page.
type View struct {
	Lang     string   // "" = by cookie and Accept-Language
	Service  *Service // being entered; nil = none is known
	Switch   string   // path the language switch posts to; "" = the general one, on pages that were asked for with GET
	NoSwitch bool     // on a page that cannot be asked for twice
	Here     string   // path and query the general switch comes back to; "" = what was asked for with GET
	Data     any      // of the page
	Host     any      // of the host of a factor's page
	// Notice is a sentence above the page, such as that nothing can be changed now; where a form failed, Err stands in its place.
	Notice string
	// Err, after a form failed, is one *fault.Error or several joined ones; their Field links the summary to the fields.
	Err error
	// Values are kept in the fields of a failed form. Secrets are never shown again, whatever stands here.
	Values url.Values
	// FormActions are further origins the forms of the page may lead to, at the end of all redirects.
	FormActions []string
	Refresh     time.Duration // the page asks for itself again after this long; 0 = never
	Wide        bool          // tables and lists instead of one task
	Camera      bool          // the page may use the camera
}

// Service is the strip that says what is being entered.
type Service struct {
	Name    string // data: cleaned and escaped before it is shown
	Address string // host
	Logo    string // hash of its picture, in hexadecimal; "" = it has none, and an initial stands there
	Back    string // URL of the way back, http or https, or
	Cancel  string // path that a POST of the way back goes to
}

// Picture is the address of the logo, "" = there is none.
func (s *Service) Picture() string { return logoPath(s.Logo) }

// Initial is the letter in place of a logo.
func (s *Service) Initial() string {
	for _, r := range s.Name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "•"
}

// Frame is the data of a template: what the view says and what the layout adds. Nothing is embedded, since templates look
// embedded fields up slowly.
type Frame struct {
	Lang      string
	Service   *Service
	Switch    string
	Data      any
	Host      any
	Operator  string
	Wide      bool
	values    url.Values
	Dir       string
	Problems  []Problem
	Notice    string
	Styles    []string
	Scripts   []string
	RequestID string
	Here      string // path and query, for the general language switch; "" = none is shown
}

// Problem is one line of the error summary.
type Problem struct{ Text, Field string }

// Value is what was typed into a field, "" for secrets.
func (f *Frame) Value(name string) string {
	if secretFields[name] {
		return ""
	}
	return f.values.Get(name)
}

// secretFields never come back into a page.
var secretFields = map[string]bool{"password": true, "new_password": true, "code": true}

// Problem is the sentence about a field, "" if there is none.
func (f *Frame) Problem(field string) string {
	for _, p := range f.Problems {
		if p.Field == field {
			return p.Text
		}
	}
	return ""
}

// frame completes a view; Service is copied, since it is cleaned here.
func (p *Pages) frame(pg *page, v View) *Frame {
	f := &Frame{
		Lang: v.Lang, Dir: words.Direction(v.Lang), Switch: v.Switch, Data: v.Data, Host: v.Host, Operator: p.Operator, Wide: v.Wide, Notice: v.Notice, values: v.Values,
	}
	if v.Service != nil {
		s := *v.Service
		s.Name, s.Address = Clean(s.Name, 80), Clean(s.Address, 80)
		if !strings.HasPrefix(s.Back, "https://") && !strings.HasPrefix(s.Back, "http://") {
			s.Back = ""
		}
		f.Service = &s
	}
	f.Problems = p.problems(v.Lang, v.Err)
	f.Styles, f.Scripts = p.assets.of(pg.source)
	return f
}

// unrepeated are parameters that the switch does not repeat in its form: hints that tell who somebody is, and the language
// asked for before, which would win over the switch.
var unrepeated = []string{"login_hint", "id_token_hint", "ui_locales"}

// here is where the general language switch comes back to.
func here(r *http.Request) string {
	if r.Method != http.MethodGet {
		return ""
	}
	uri := r.URL.RequestURI()
	if q := r.URL.Query(); slices.ContainsFunc(unrepeated, q.Has) {
		for _, name := range unrepeated {
			q.Del(name)
		}
		uri = (&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}).RequestURI()
	}
	if len(uri) < 1500 {
		return uri
	}
	return r.URL.Path
}

func (p *Pages) problems(lang string, err error) []Problem {
	if err == nil {
		return nil
	}
	var out []Problem
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, p.problems(lang, e)...)
		}
		return out
	}
	f := fault.Of(err)
	return []Problem{{Text: p.Sentence(lang, f), Field: f.Field}}
}

// Sentence is what a person reads about a fault: its own words, else those of its kind.
func (p *Pages) Sentence(lang string, f *fault.Error) string {
	if f.Key != "" && p.Catalogue.Has(f.Key) {
		return p.Catalogue.Text(lang, f.Key, f.Args)
	}
	return p.Catalogue.Text(lang, "fault."+f.Kind.String()+".text", f.Args)
}

// Lang chooses the language of a page: a switch made in this sign-in, ui_locales, the switch's cookie, the browser.
func (p *Pages) Lang(r *http.Request, switched string, uiLocales []string) string {
	return words.Choose(switched, uiLocales, p.Cookies.Get(r, web.LangCookie), r.Header.Get("Accept-Language"))
}

// Clean makes text of strangers fit to be shown in a line of ours: no control, formatting or bidirectional characters,
// which could reorder the words around it, single spaces, at most most characters.
func Clean(s string, most int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
			continue
		}
		if n >= most {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			n, space = n+1, false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
