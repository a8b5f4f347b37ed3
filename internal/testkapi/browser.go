package testkapi

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Browser is a plain HTTP client with cookies that reads pages the way a person without JavaScript does: it sees text,
// fills forms by the names of their fields and presses the first submit button. It follows redirects inside Kapi and
// stops at the first address outside, which is where a relying party would take over.
type Browser struct {
	T      testing.TB
	Client *http.Client
	Header http.Header // sent with every request, e.g. Accept-Language
	Roams  bool        // follow redirects outside too, to a relying party that runs

	URL    *url.URL // of the page shown
	Status int
	Reply  http.Header
	Body   string
	doc    *html.Node
	left   *url.URL // where it was sent outside
}

// NewBrowser returns a browser with an empty cookie jar.
func NewBrowser(t testing.TB) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{T: t, Header: http.Header{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}, "Accept-Language": {"en"}}}
	b.Client = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		for name, values := range b.Header {
			r.Header[name] = values
		}
		if r.URL.Host != via[0].URL.Host && !b.Roams {
			b.left = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// Open gets an address, relative to the page shown if it is relative.
func (b *Browser) Open(address string) *Browser {
	b.T.Helper()
	return b.send(http.MethodGet, address, nil)
}

// Post sends fields as a form from the page's own origin.
func (b *Browser) Post(address string, fields url.Values) *Browser {
	b.T.Helper()
	return b.send(http.MethodPost, address, fields)
}

func (b *Browser) send(method, address string, fields url.Values) *Browser {
	b.T.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.T.Fatal(err)
	}
	if b.URL != nil {
		u = b.URL.ResolveReference(u)
	}
	var body io.Reader
	if fields != nil {
		body = strings.NewReader(fields.Encode())
	}
	r, err := http.NewRequestWithContext(b.T.Context(), method, u.String(), body)
	if err != nil {
		b.T.Fatal(err)
	}
	for name, values := range b.Header {
		r.Header[name] = values
	}
	if fields != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", u.Scheme+"://"+u.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	b.left = nil
	resp, err := b.Client.Do(r)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	b.URL, b.Status, b.Reply, b.Body = resp.Request.URL, resp.StatusCode, resp.Header, string(raw)
	b.doc, err = html.Parse(strings.NewReader(b.Body))
	if err != nil {
		b.T.Fatal(err)
	}
	return b
}

// Left returns the address outside Kapi that the last request ended at; nil if it ended at a page.
func (b *Browser) Left() *url.URL { return b.left }

// See fails the test unless the page's text holds every part.
func (b *Browser) See(parts ...string) *Browser {
	b.T.Helper()
	text := b.Text()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			b.T.Fatalf("%s (%d) does not say %q:\n%s", b.URL, b.Status, p, text)
		}
	}
	return b
}

// DontSee fails the test if the page's text holds the part.
func (b *Browser) DontSee(part string) *Browser {
	b.T.Helper()
	if strings.Contains(b.Text(), part) {
		b.T.Fatalf("%s says %q:\n%s", b.URL, part, b.Text())
	}
	return b
}

// Text is what a person reads: the text below body with spaces folded.
func (b *Browser) Text() string {
	var out strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			out.WriteString(n.Data)
			out.WriteByte(' ')
		case n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style" || n.Data == "head"):
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(b.doc)
	return strings.Join(strings.Fields(out.String()), " ")
}

// Submit fills the form that has all the named fields and presses its first submit button.
func (b *Browser) Submit(fields map[string]string) *Browser {
	b.T.Helper()
	form := b.find(func(n *html.Node) bool { return n.Data == "form" && hasFields(n, fields) })
	if form == nil {
		b.T.Fatalf("%s (%d): no form with %v:\n%s", b.URL, b.Status, fields, b.Text())
	}
	values, action := filled(form, fields)
	if action == "" {
		action = b.URL.String()
	}
	return b.Post(action, values)
}

// Target is where the form with this field is sent, for tests that send it in ways that no browser does.
func (b *Browser) Target(field string) string {
	b.T.Helper()
	fields := map[string]string{field: ""}
	form := b.find(func(n *html.Node) bool { return n.Data == "form" && hasFields(n, fields) })
	if form == nil {
		b.T.Fatalf("%s (%d): no form with %s:\n%s", b.URL, b.Status, field, b.Text())
	}
	u, err := b.URL.Parse(attribute(form, "action"))
	if err != nil {
		b.T.Fatal(err)
	}
	return u.String()
}

// Press presses the first button whose words hold the text.
func (b *Browser) Press(words string) *Browser {
	b.T.Helper()
	var form *html.Node
	button := b.find(func(n *html.Node) bool { return n.Data == "button" && strings.Contains(textOf(n), words) })
	for n := button; n != nil && form == nil; n = n.Parent {
		if n.Data == "form" {
			form = n
		}
	}
	if form == nil {
		b.T.Fatalf("%s (%d): no button %q:\n%s", b.URL, b.Status, words, b.Text())
	}
	values, action := filled(form, nil)
	if name := attribute(button, "name"); name != "" {
		values.Set(name, attribute(button, "value"))
	}
	if action == "" {
		action = b.URL.String()
	}
	return b.Post(action, values)
}

// Follow opens the first link whose words hold the text.
func (b *Browser) Follow(words string) *Browser {
	b.T.Helper()
	a := b.find(func(n *html.Node) bool { return n.Data == "a" && strings.Contains(textOf(n), words) })
	if a == nil {
		b.T.Fatalf("%s (%d): no link %q:\n%s", b.URL, b.Status, words, b.Text())
	}
	return b.Open(attribute(a, "href"))
}

// Cookie returns the value of a cookie of the page's site; "" if there is none.
func (b *Browser) Cookie(name string) string {
	for _, c := range b.Client.Jar.Cookies(b.URL) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *Browser) find(match func(*html.Node) bool) *html.Node {
	var walk func(*html.Node) *html.Node
	walk = func(n *html.Node) *html.Node {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			if found := walk(c); found != nil {
				return found
			}
		}
		return nil
	}
	return walk(b.doc)
}

func hasFields(form *html.Node, fields map[string]string) bool {
	values, _ := filled(form, nil)
	for name := range fields {
		if !values.Has(name) {
			return false
		}
	}
	return true
}

// filled is what a browser would send: the fields with their values, overwritten by ours, and the first submit button.
func filled(form *html.Node, fields map[string]string) (values url.Values, action string) {
	values = url.Values{}
	pressed := false
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		name := attribute(n, "name")
		switch {
		case n.Type != html.ElementNode || name == "" && n.Data != "button":
		case n.Data == "button" && (attribute(n, "type") == "submit" || attribute(n, "type") == ""):
			if !pressed && name != "" {
				values.Set(name, attribute(n, "value"))
			}
			pressed = true
		case n.Data == "input" && (attribute(n, "type") == "radio" || attribute(n, "type") == "checkbox"):
			if hasAttribute(n, "checked") || !values.Has(name) && attribute(n, "type") == "radio" {
				values.Set(name, attribute(n, "value"))
			}
		case n.Data == "input" || n.Data == "textarea" || n.Data == "select":
			values.Set(name, attribute(n, "value"))
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(form)
	for name, v := range fields {
		values.Set(name, v)
	}
	return values, attribute(form, "action")
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var out strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		out.WriteString(textOf(c))
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}
