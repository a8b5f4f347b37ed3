package webhook

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

var now = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// secrets stand for files.
func secrets(name string) ([]byte, error) {
	switch name {
	case "empty":
		return nil, nil
	case "missing":
		return nil, os.ErrNotExist
	case "two-lines":
		return []byte("a\nb\n"), nil
	}
	return []byte("secret of " + name + " &<\"\n"), nil
}

// hostile is a message that tries to leave its place.
var hostile = notify.Message{
	ID: "id-1", Channel: "sms", To: "+905550000001", Text: "123456 \"},{\"x\":1} </msg><to>&to=+1\\u0000 {secret.token}", Deadline: now.Add(5 * time.Minute),
}

type request struct {
	*http.Request
	body string
}

// vendor answers over TLS and keeps the last request.
type vendor struct {
	*httptest.Server
	last   request
	status int
	body   string
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{status: 200}
	v.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		v.last = request{r, string(b)}
		w.WriteHeader(v.status)
		_, _ = io.WriteString(w, v.body)
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) gateway(t *testing.T, file string) *Gateway {
	t.Helper()
	tpl, err := Parse([]byte(file), secrets)
	if err != nil {
		t.Fatal(err)
	}
	tpl.roots = x509.NewCertPool()
	tpl.roots.AddCert(v.Certificate())
	g, err := New("https", v.URL+"/send?tenant=1", "KAPI", tpl, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name, file string
		check      func(*testing.T, request)
	}{
		{"json", `{"format":"json","body":{"a":["{to}","{text}",1,null,true],"k":"{secret.token}","n":12345678901234567890},"secrets":{"token":"t"}}`,
			func(t *testing.T, r request) {
				var got struct {
					A []any
					K string
					N json.Number
				}
				d := json.NewDecoder(strings.NewReader(r.body))
				d.UseNumber()
				if err := d.Decode(&got); err != nil || len(got.A) != 5 || got.A[0] != "+905550000001" || got.A[1] != hostile.Text || got.K != `secret of t &<"` || got.N != "12345678901234567890" {
					t.Errorf("%v: %s", err, r.body)
				}
				if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.URL.RawQuery != "tenant=1" {
					t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
				}
			}},
		{"xml", `{"method":"PUT","format":"xml","body":"<m to=\"{digits}\"><text>{text}</text><k>{secret.token}</k></m>","secrets":{"token":"t"}}`,
			func(t *testing.T, r request) {
				var got struct {
					To   string   `xml:"to,attr"`
					Text []string `xml:"text"`
					K    string   `xml:"k"`
				}
				if err := xml.Unmarshal([]byte(r.body), &got); err != nil || got.To != "905550000001" || len(got.Text) != 1 || got.Text[0] != hostile.Text || got.K != `secret of t &<"` {
					t.Errorf("%v: %s", err, r.body)
				}
				if r.Method != "PUT" || r.Header.Get("Content-Type") != "application/xml; charset=utf-8" {
					t.Errorf("%s %v", r.Method, r.Header)
				}
			}},
		{"form", `{"format":"form","body":{"to":"{local}","text":"{text}","ttl":"{ttl}","lit":"{{x}}"},"local_prefix":"90"}`,
			func(t *testing.T, r request) {
				got, err := url.ParseQuery(r.body)
				if err != nil || len(got) != 4 || len(got["to"]) != 1 || got.Get("to") != "5550000001" || got.Get("text") != hostile.Text || got.Get("ttl") != "300" || got.Get("lit") != "{x}" {
					t.Errorf("%v: %s", err, r.body)
				}
			}},
		{"query", `{"method":"GET","query":{"to":"{to}","text":"{text}","from":"{from}"},"headers":{"X-Ref":"{id}"},"basic_auth":{"user":"u","password":"{secret.pw}"},"secrets":{"pw":"p"},"idempotency_header":"Idempotency-Key"}`,
			func(t *testing.T, r request) {
				q := r.URL.Query()
				if len(q) != 4 || q.Get("tenant") != "1" || q.Get("to") != "+905550000001" || q.Get("text") != hostile.Text || q.Get("from") != "KAPI" {
					t.Errorf("%s", r.URL)
				}
				if u, p, ok := r.BasicAuth(); !ok || u != "u" || p != `secret of p &<"` {
					t.Errorf("credentials %q %q", u, p)
				}
				if r.Header.Get("X-Ref") != "id-1" || r.Header.Get("Idempotency-Key") != "id-1" || r.body != "" || r.Method != "GET" {
					t.Errorf("%s %v %q", r.Method, r.Header, r.body)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVendor(t)
			if err := v.gateway(t, c.file).Send(t.Context(), hostile); err != nil {
				t.Fatal(err)
			}
			c.check(t, v.last)
		})
	}
}

func TestHeaderInjection(t *testing.T) {
	v := newVendor(t)
	g := v.gateway(t, `{"headers":{"X-Text":"{text}"}}`)
	m := hostile
	m.Text = "123456\r\nX-Evil: 1"
	var f *notify.Failure
	if err := g.Send(t.Context(), m); !errors.As(err, &f) || !f.Final || v.last.Request != nil {
		t.Fatalf("%+v", f)
	}
}

func TestAnswers(t *testing.T) {
	const file = `{"success":{"status":[200,202],"body":"^OK"},"refused":{"status":[200,400],"body":"bad number"}}`
	for _, c := range []struct {
		status         int
		body           string
		ok             bool
		certain, final bool
	}{
		{200, "OK 1", true, true, false},
		{202, "OK", true, true, false},
		{201, "OK", false, true, false},
		{200, "ERR 7", false, true, false},
		{200, "ERR bad number", false, true, true},
		{400, "bad number", false, true, true},
		{400, "", false, true, false},
		{500, "OK", false, true, false},
		{504, "", false, false, false},
		{200, strings.Repeat("x", 70_000) + "bad number", false, true, false}, // beyond what is read
	} {
		v := newVendor(t)
		v.status, v.body = c.status, c.body
		err := v.gateway(t, file).Send(t.Context(), hostile)
		var f *notify.Failure
		switch {
		case c.ok != (err == nil):
			t.Errorf("%d %.20q: %v", c.status, c.body, err)
		case err != nil && (!errors.As(err, &f) || f.Certain != c.certain || f.Final != c.final):
			t.Errorf("%d %.20q: %+v", c.status, c.body, f)
		case err != nil && (strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "ERR")):
			t.Errorf("%d: the error repeats message or answer: %v", c.status, err)
		}
	}
	v := newVendor(t)
	v.status, v.body = 429, ""
	var f *notify.Failure
	if err := v.gateway(t, file).Send(t.Context(), hostile); !errors.As(err, &f) || !f.Certain {
		t.Errorf("429: %+v", f)
	}
}

func TestRefusedTemplates(t *testing.T) {
	for name, file := range map[string]string{
		"no JSON":              `{`,
		"two values":           `{} {}`,
		"unknown member":       `{"colour":"red"}`,
		"method":               `{"method":"DELETE"}`,
		"format":               `{"format":"yaml","body":"x"}`,
		"body without format":  `{"body":{"a":"b"}}`,
		"GET with body":        `{"method":"GET","format":"form","body":{"a":"b"}}`,
		"json without body":    `{"format":"json"}`,
		"form of numbers":      `{"format":"form","body":{"a":1}}`,
		"xml of an object":     `{"format":"xml","body":{}}`,
		"xml not well formed":  `{"format":"xml","body":"<a>{text}"}`,
		"unknown placeholder":  `{"query":{"a":"{number}"}}`,
		"secret not declared":  `{"query":{"a":"{secret.x}"}}`,
		"open brace":           `{"query":{"a":"{to"}}`,
		"close brace":          `{"query":{"a":"to}"}}`,
		"secret missing":       `{"secrets":{"x":"missing"}}`,
		"secret empty":         `{"secrets":{"x":"empty"}}`,
		"secret of two lines":  `{"secrets":{"x":"two-lines"}}`,
		"ca":                   `{"ca":"nothing"}`,
		"header owned":         `{"headers":{"host":"evil"}}`,
		"header name":          `{"headers":{"A B":"x"}}`,
		"idempotency header":   `{"idempotency_header":"A:B"}`,
		"status":               `{"success":{"status":[99]}}`,
		"regular expression":   `{"success":{"body":"("}}`,
		"local prefix":         `{"local_prefix":"+90"}`,
		"too long":             `{"method":"` + strings.Repeat("x", mostFile) + `"}`,
		"placeholder in array": `{"format":"json","body":[["{what}"]]}`,
	} {
		if _, err := Parse([]byte(file), secrets); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "secret of") {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	tpl, err := Parse([]byte(`{}`), secrets)
	if err != nil {
		t.Fatal(err)
	}
	for address, ok := range map[string]bool{
		"https://api.example/x?y=1": true, "http://127.0.0.1:13013/cgi-bin/sendsms": true, "http://localhost/": true, "http://[::1]/": true,
		"http://api.example/": false, "https://u:p@api.example/": false, "ftp://api.example": false, "https://": false, "": false,
		"http://127.0.0.1.evil.example/": false, "https://api.example/#x": false,
	} {
		_, err := New("https", address, "KAPI", tpl, time.Now)
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "u:p") {
			t.Errorf("the error repeats credentials: %v", err)
		}
	}
}

func TestOwnCA(t *testing.T) {
	v := newVendor(t)
	read := func(name string) ([]byte, error) {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw}), nil
	}
	for ca, ok := range map[string]bool{`{"ca":"ca.pem"}`: true, `{}`: false} {
		tpl, err := Parse([]byte(ca), read)
		if err != nil {
			t.Fatal(err)
		}
		g, err := New("https", v.URL, "KAPI", tpl, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		var f *notify.Failure
		err = g.Send(t.Context(), hostile)
		if ok != (err == nil) || err != nil && (!errors.As(err, &f) || !f.Certain || !f.Silent) {
			t.Errorf("%s: %v %+v", ca, err, f)
		}
	}
}

// The files that operators start from must work as they stand.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../../../deploy/sms/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v %v", files, err)
	}
	good := map[string]string{"json.json": "", "form.json": `{"sid":"1","status": "queued"}`, "xml.json": "00 12345", "kannel.json": "0: Accepted for delivery"}
	for _, path := range files {
		name := filepath.Base(path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		v := newVendor(t)
		v.body = good[name]
		if name == "kannel.json" {
			v.status = 202
		}
		g := v.gateway(t, string(b))
		if err := g.Send(t.Context(), hostile); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.status = 500
		if err := g.Send(t.Context(), hostile); err == nil {
			t.Errorf("%s: status 500 counts as success", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("../../../../deploy/sms/*.json")
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, hostile.Text)
	}
	f.Add([]byte(`{"format":"xml","body":"<a b='{text}'>{{{to}}}</a>"}`), "]]>'\"&")
	f.Add([]byte(`{"format":"json","body":{"{text}":"{text}"}}`), "\xff")
	f.Fuzz(func(t *testing.T, file []byte, txt string) {
		tpl, err := Parse(file, secrets)
		if err != nil {
			if strings.Contains(err.Error(), "secret of") {
				t.Fatalf("the error repeats a secret: %v", err)
			}
			return
		}
		shape := func(body string) string {
			switch tpl.file.Format {
			case "json":
				var v any
				if err := json.Unmarshal([]byte(body), &v); err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				return jsonShape(v)
			case "form":
				v, err := url.ParseQuery(body)
				if err != nil {
					t.Fatalf("%v: %s", err, body)
				}
				return fmt.Sprint(len(v))
			case "xml":
				return xmlShape(t, body)
			}
			return body
		}
		var shapes []string
		for _, text := range []string{"1", txt} {
			body, _, err := tpl.body(message{Message: notify.Message{ID: "1", To: "+1", Text: text}, from: "K"})
			if err != nil {
				t.Fatal(err)
			}
			shapes = append(shapes, shape(body))
		}
		if shapes[0] != shapes[1] {
			t.Fatalf("a text changed the structure from %s to %s", shapes[0], shapes[1])
		}
	})
}

func jsonShape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return fmt.Sprint("{", len(v), "}")
	case []any:
		s := "["
		for _, x := range v {
			s += jsonShape(x)
		}
		return s + "]"
	}
	return "."
}

func xmlShape(t *testing.T, body string) string {
	d := xml.NewDecoder(strings.NewReader(body))
	s := ""
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			s += fmt.Sprint("<", tok.Name.Local, len(tok.Attr), ">")
		case xml.EndElement:
			s += "</>"
		}
	}
}
