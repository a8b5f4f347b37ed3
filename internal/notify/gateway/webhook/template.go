package webhook

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// File is what a template file holds. Texts with placeholders are marked T; a placeholder is {to} (E.164 with its plus),
// {digits} (without it), {local} (without LocalPrefix either), {text}, {id} (idempotency key), {from}, {ttl} (seconds left) or
// {secret.NAME}; {{ and }} are braces. Values are escaped for the place they stand in, whatever they hold.
type File struct {
	Method            string            `json:"method"`             // POST (default), PUT or GET
	Query             map[string]string `json:"query"`              // T, added to the address
	Headers           map[string]string `json:"headers"`            // T
	BasicAuth         *BasicAuth        `json:"basic_auth"`         //
	Format            string            `json:"format"`             // json, form, xml, or none (default: no body)
	Body              json.RawMessage   `json:"body"`               // json: any value, T in its texts; form: an object of T; xml: one T
	Secrets           map[string]string `json:"secrets"`            // name → file, relative to the template file
	CA                string            `json:"ca"`                 // file of the certificates to trust instead of the system's
	LocalPrefix       string            `json:"local_prefix"`       // country code, e.g. "90"
	IdempotencyHeader string            `json:"idempotency_header"` // only if the vendor drops a second message with the same value
	Success           Match             `json:"success"`            // default: status 200 to 299
	Refused           Match             `json:"refused"`            // the number or text is at fault: not tried again
}

// BasicAuth is T on both sides.
type BasicAuth struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Match of an answer: any of Status, and the regular expression Body within the first 64 KiB.
type Match struct {
	Status []int  `json:"status"`
	Body   string `json:"body"`

	body *regexp.Regexp
}

func (m Match) given() bool { return len(m.Status) > 0 || m.body != nil }

func (m Match) matches(status int, body []byte) bool {
	if len(m.Status) > 0 && !slices.Contains(m.Status, status) {
		return false
	}
	return m.body == nil || m.body.Match(body)
}

// text is a T cut into fixed pieces and placeholders.
type text []piece

type piece struct {
	fixed string
	name  string // of a placeholder; "" = fixed
}

// Template is a checked File.
type Template struct {
	file    File
	roots   *x509.CertPool
	query   map[string]text
	headers map[string]text
	user    text
	pass    text
	form    map[string]text
	xml     text
	json    any // texts in place of strings
	secrets map[string]string
}

// mostFile is beyond any template.
const mostFile = 64 << 10

// Parse checks a template file. read opens the files it names. What is unknown, missing or contradictory is an error; no
// error repeats a secret.
func Parse(b []byte, read func(name string) ([]byte, error)) (*Template, error) {
	if len(b) > mostFile {
		return nil, errors.New("template: too long")
	}
	t := &Template{secrets: map[string]string{}}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&t.file); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("template: more than one JSON value")
	}
	for _, step := range []func(func(string) ([]byte, error)) error{t.takeSecrets, t.takeCA, t.takeHead, t.takeBody, t.takeMatches} {
		if err := step(read); err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
	}
	return t, nil
}

func (t *Template) takeSecrets(read func(string) ([]byte, error)) error {
	for name, file := range t.file.Secrets {
		b, err := read(file)
		if err != nil {
			return fmt.Errorf("secret %q: %w", name, err)
		}
		s := strings.TrimRight(string(b), "\r\n")
		if s == "" || !printable(s) {
			return fmt.Errorf("secret %q: %s is empty or no text", name, file)
		}
		t.secrets[name] = s
	}
	return nil
}

func (t *Template) takeCA(read func(string) ([]byte, error)) error {
	if t.file.CA == "" {
		return nil
	}
	b, err := read(t.file.CA)
	if err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	t.roots = x509.NewCertPool()
	if !t.roots.AppendCertsFromPEM(b) {
		return fmt.Errorf("ca: no certificate in %s", t.file.CA)
	}
	return nil
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// Headers that the request itself owns.
var owned = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type"}

func (t *Template) takeHead(func(string) ([]byte, error)) (err error) {
	f := &t.file
	switch f.Method {
	case "":
		f.Method = http.MethodPost
	case http.MethodGet, http.MethodPost, http.MethodPut:
	default:
		return fmt.Errorf("method is GET, POST or PUT, not %q", f.Method)
	}
	if !digitsOnly(f.LocalPrefix) || len(f.LocalPrefix) > 4 {
		return fmt.Errorf("local_prefix is a country code such as 90")
	}
	if t.query, err = t.cutAll("query", f.Query); err != nil {
		return err
	}
	for name := range f.Headers {
		if !headerName.MatchString(name) || slices.Contains(owned, http.CanonicalHeaderKey(name)) {
			return fmt.Errorf("header %q cannot be set", name)
		}
	}
	if f.IdempotencyHeader != "" && !headerName.MatchString(f.IdempotencyHeader) {
		return fmt.Errorf("idempotency_header %q is no header name", f.IdempotencyHeader)
	}
	if t.headers, err = t.cutAll("header", f.Headers); err != nil {
		return err
	}
	if f.BasicAuth != nil {
		if t.user, err = t.cut(f.BasicAuth.User); err != nil {
			return fmt.Errorf("basic_auth: %w", err)
		}
		if t.pass, err = t.cut(f.BasicAuth.Password); err != nil {
			return fmt.Errorf("basic_auth: %w", err)
		}
	}
	return nil
}

func (t *Template) takeBody(func(string) ([]byte, error)) (err error) {
	switch t.file.Format {
	case "", "none":
		if len(t.file.Body) > 0 {
			return errors.New("a body needs a format: json, form or xml")
		}
		return nil
	case "json":
		var v any
		d := json.NewDecoder(bytes.NewReader(t.file.Body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("body: %w", err)
		}
		t.json, err = t.cutTree(v)
	case "form":
		var v map[string]string
		if err := json.Unmarshal(t.file.Body, &v); err != nil {
			return fmt.Errorf("body of a form is an object of texts: %w", err)
		}
		t.form, err = t.cutAll("body", v)
	case "xml":
		var v string
		if err := json.Unmarshal(t.file.Body, &v); err != nil {
			return fmt.Errorf("body of xml is a text: %w", err)
		}
		if t.xml, err = t.cut(v); err == nil {
			err = wellFormed(t.render(t.xml, sample, xmlEscape))
		}
	default:
		return fmt.Errorf("format is json, form, xml or none, not %q", t.file.Format)
	}
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if t.file.Method == http.MethodGet {
		return errors.New("GET has no body")
	}
	return nil
}

func (t *Template) takeMatches(func(string) ([]byte, error)) error {
	for name, m := range map[string]*Match{"success": &t.file.Success, "refused": &t.file.Refused} {
		for _, s := range m.Status {
			if s < 200 || s > 599 {
				return fmt.Errorf("%s: no such status %d", name, s)
			}
		}
		if m.Body == "" {
			continue
		}
		re, err := regexp.Compile(m.Body)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.body = re
	}
	if len(t.file.Success.Status) == 0 {
		for s := 200; s < 300; s++ {
			t.file.Success.Status = append(t.file.Success.Status, s)
		}
	}
	return nil
}

func (t *Template) cutAll(what string, m map[string]string) (map[string]text, error) {
	out := make(map[string]text, len(m))
	for k, v := range m {
		x, err := t.cut(v)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", what, k, err)
		}
		out[k] = x
	}
	return out, nil
}

func (t *Template) cutTree(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return t.cut(v)
	case []any:
		for i := range v {
			x, err := t.cutTree(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = x
		}
	case map[string]any:
		for k := range v {
			x, err := t.cutTree(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = x
		}
	}
	return v, nil
}

var known = []string{"to", "digits", "local", "text", "id", "from", "ttl"}

// cut reads the placeholders of a text.
func (t *Template) cut(s string) (text, error) {
	var out text
	var fixed strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			fixed.WriteByte(c)
			i++
		case c == '}':
			return nil, errors.New("a single }; write }} for a brace")
		case c != '{':
			fixed.WriteByte(c)
		default:
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, errors.New("a { without its }; write {{ for a brace")
			}
			name := s[i+1 : i+end]
			secret, isSecret := strings.CutPrefix(name, "secret.")
			if _, given := t.secrets[secret]; !slices.Contains(known, name) && !(isSecret && given) {
				return nil, fmt.Errorf("unknown placeholder {%.40s}", name)
			}
			out = append(out, piece{fixed: fixed.String()}, piece{name: name})
			fixed.Reset()
			i += end
		}
	}
	return append(out, piece{fixed: fixed.String()}), nil
}

// message is what the placeholders stand for.
type message struct {
	notify.Message
	from string
	left time.Duration
}

var sample = message{Message: notify.Message{ID: "0", To: "+905550000001", Text: "000000"}, from: "KAPI", left: time.Minute}

func (t *Template) value(name string, m message) string {
	digits := strings.TrimPrefix(m.To, "+")
	switch name {
	case "to":
		return m.To
	case "digits":
		return digits
	case "local":
		return strings.TrimPrefix(digits, t.file.LocalPrefix)
	case "text":
		return m.Text
	case "id":
		return m.ID
	case "from":
		return m.from
	case "ttl":
		return fmt.Sprint(int(max(m.left, 0) / time.Second))
	}
	return t.secrets[strings.TrimPrefix(name, "secret.")]
}

// render puts the values in, each through escape.
func (t *Template) render(x text, m message, escape func(string) string) string {
	var b strings.Builder
	for _, p := range x {
		if p.name == "" {
			b.WriteString(p.fixed)
		} else {
			b.WriteString(escape(t.value(p.name, m)))
		}
	}
	return b.String()
}

func raw(s string) string { return s }

func xmlEscape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // quotes too, so that it is good in an attribute; illegal characters become U+FFFD
	return b.String()
}

func wellFormed(s string) error {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (t *Template) values(m map[string]text, msg message) url.Values {
	out := url.Values{}
	for k, x := range m {
		out.Set(k, t.render(x, msg, raw))
	}
	return out
}

// tree renders a JSON body; the encoder escapes.
func (t *Template) tree(v any, m message) any {
	switch v := v.(type) {
	case text:
		return t.render(v, m, raw)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = t.tree(v[i], m)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = t.tree(v[k], m)
		}
		return out
	}
	return v
}

// body returns the body and its media type.
func (t *Template) body(m message) (string, string, error) {
	switch t.file.Format {
	case "json":
		b, err := json.Marshal(t.tree(t.json, m))
		return string(b), "application/json", err
	case "form":
		return t.values(t.form, m).Encode(), "application/x-www-form-urlencoded", nil
	case "xml":
		return t.render(t.xml, m, xmlEscape), "application/xml; charset=utf-8", nil
	}
	return "", "", nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func digitsOnly(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
