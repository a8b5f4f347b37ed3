package devicetest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Contract is docs/openapi/device.yaml, which real requests and answers are held against.
type Contract struct {
	doc  map[string]any
	mu   sync.Mutex
	seen map[string]bool
}

// LoadContract reads the file. What it says in words that Check does not understand is an error, so that no rule is passed over.
func LoadContract(path string) (*Contract, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Contract{seen: map[string]bool{}}
	if err := yaml.Unmarshal(raw, &c.doc); err != nil {
		return nil, err
	}
	if v, _ := c.doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		return nil, fmt.Errorf("openapi %q, want 3.1", v)
	}
	return c, c.understand("#", c.doc)
}

// keywords of schemas that value knows, and those that say nothing about values.
var (
	keywords = []string{"$ref", "type", "properties", "required", "additionalProperties", "pattern", "const", "enum", "minLength", "maxLength", "minimum", "maximum",
		"items", "maxItems", "allOf", "format", "contentSchema"}
	remarks = []string{"description", "contentMediaType", "title"}
)

// understand walks to every schema and every reference.
func (c *Contract) understand(at string, node any) error {
	switch n := node.(type) {
	case map[string]any:
		if ref, ok := n["$ref"].(string); ok {
			if _, err := c.follow(ref); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		if _, typed := n["type"].(string); typed && !strings.Contains(at, "/securitySchemes/") {
			for k := range n {
				if !slices.Contains(keywords, k) && !slices.Contains(remarks, k) {
					return fmt.Errorf("%s: what does %q ask for?", at, k)
				}
			}
		}
		for k, v := range n {
			if err := c.understand(at+"/"+k, v); err != nil {
				return err
			}
		}
	case []any:
		for i, v := range n {
			if err := c.understand(at+"/"+strconv.Itoa(i), v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Contract) follow(ref string) (any, error) {
	var at any = c.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := at.(map[string]any)
		if !ok || m[part] == nil {
			return nil, fmt.Errorf("%s leads nowhere", ref)
		}
		at = m[part]
	}
	return at, nil
}

func (c *Contract) resolve(node any) map[string]any {
	m, _ := node.(map[string]any)
	for m["$ref"] != nil {
		to, err := c.follow(m["$ref"].(string))
		if err != nil {
			return nil
		}
		m, _ = to.(map[string]any)
	}
	return m
}

// Check holds one exchange against the contract: the answer in any case, and the request where it was taken.
func (c *Contract) Check(r *http.Request, body []byte, status int, header http.Header, answer []byte) error {
	path := strings.TrimPrefix(r.URL.Path, Base)
	template, op := c.operation(r.Method, path)
	if op == nil {
		if status == http.StatusNotFound {
			return nil
		}
		return fmt.Errorf("%s %s is not in the contract and answered %d", r.Method, path, status)
	}
	name := r.Method + " " + template
	responses, _ := op["responses"].(map[string]any)
	response := c.resolve(responses[strconv.Itoa(status)])
	if response == nil {
		return fmt.Errorf("%s: status %d is not in the contract: %s", name, status, answer)
	}
	c.mu.Lock()
	c.seen[name+" "+strconv.Itoa(status)] = true
	c.mu.Unlock()
	if err := c.content(response, header.Get("Content-Type"), answer); err != nil {
		return fmt.Errorf("%s answers %d: %w: %s", name, status, err, answer)
	}
	if status >= 300 {
		return nil
	}
	return c.request(name, op, r, body)
}

func (c *Contract) request(name string, op map[string]any, r *http.Request, body []byte) error {
	if err := c.value(c.schema("App", "parameters"), r.Header.Get("Kapi-App")); err != nil {
		return fmt.Errorf("%s was taken with Kapi-App: %w", name, err)
	}
	if want := c.resolve(op["requestBody"]); want != nil {
		if err := c.content(want, r.Header.Get("Content-Type"), body); err != nil {
			return fmt.Errorf("%s was taken with a body: %w: %s", name, err, body)
		}
		var in struct{ Statement string }
		if json.Unmarshal(body, &in) == nil && in.Statement != "" {
			if err := c.claims("Statement", in.Statement); err != nil {
				return fmt.Errorf("%s was taken with a statement: %w", name, err)
			}
		}
	} else if len(body) > 0 {
		return fmt.Errorf("%s was taken with a body that the contract does not have", name)
	}
	if op["security"] != nil { // none
		return nil
	}
	if err := c.claims("Proof", r.Header.Get("Kapi-Device")); err != nil {
		return fmt.Errorf("%s was taken with a proof: %w", name, err)
	}
	return nil
}

// claims holds what a JWS says against a schema.
func (c *Contract) claims(schema, jws string) error {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return errors.New("no JWS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return c.json(c.schema(schema, "schemas"), raw)
}

func (c *Contract) schema(name, kind string) any {
	n, err := c.follow("#/components/" + kind + "/" + name)
	if err != nil {
		return nil
	}
	if kind == "parameters" {
		return n.(map[string]any)["schema"]
	}
	return n
}

func (c *Contract) operation(method, path string) (template string, op map[string]any) {
	paths, _ := c.doc["paths"].(map[string]any)
	for template, item := range paths {
		form := "^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`) + "$"
		if !regexp.MustCompile(form).MatchString(path) {
			continue
		}
		if op, ok := item.(map[string]any)[strings.ToLower(method)].(map[string]any); ok {
			return template, op
		}
	}
	return "", nil
}

func (c *Contract) content(of map[string]any, kind string, body []byte) error {
	content, _ := of["content"].(map[string]any)
	if content == nil {
		if len(body) > 0 {
			return fmt.Errorf("%d bytes where none belong", len(body))
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(kind)
	media, _ := content[kind].(map[string]any)
	if err != nil || media == nil {
		return fmt.Errorf("content type %q", kind)
	}
	return c.json(media["schema"], body)
}

func (c *Contract) json(schema any, raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	return c.value(schema, v)
}

// value holds a value against a schema (JSON Schema 2020-12, as far as keywords goes).
func (c *Contract) value(schema, v any) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return errors.New("no schema")
	}
	if ref, ok := s["$ref"].(string); ok {
		to, err := c.follow(ref)
		if err != nil {
			return err
		}
		if err := c.value(to, v); err != nil {
			return err
		}
	}
	all, _ := s["allOf"].([]any)
	for _, part := range all {
		if err := c.value(part, v); err != nil {
			return err
		}
	}
	if want, ok := s["const"]; ok && fmt.Sprint(want) != fmt.Sprint(v) {
		return fmt.Errorf("%v, want %v", v, want)
	}
	if list, ok := s["enum"].([]any); ok && !slices.ContainsFunc(list, func(w any) bool { return reflect.DeepEqual(w, v) }) {
		return fmt.Errorf("%v is none of %v", v, list)
	}
	kind, _ := s["type"].(string)
	switch kind {
	case "":
		return nil
	case "object":
		return c.object(s, v)
	case "array":
		return c.array(s, v)
	case "string":
		return c.text(s, v)
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v is no boolean", v)
		}
		return nil
	case "integer":
		n, ok := v.(float64)
		if !ok || n != float64(int64(n)) {
			return fmt.Errorf("%v is no integer", v)
		}
		if least, ok := s["minimum"].(int); ok && n < float64(least) {
			return fmt.Errorf("%v is below %d", n, least)
		}
		if most, ok := s["maximum"].(int); ok && n > float64(most) {
			return fmt.Errorf("%v is above %d", n, most)
		}
		return nil
	}
	return fmt.Errorf("type %q", kind)
}

func (c *Contract) object(s map[string]any, v any) error {
	o, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%v is no object", v)
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := o[name.(string)]; !ok {
			return fmt.Errorf("%v is missing", name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, member := range o {
		p := properties[name]
		if p == nil {
			if s["additionalProperties"] == false {
				return fmt.Errorf("a member %q too many", name)
			}
			continue
		}
		if err := c.value(p, member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *Contract) array(s map[string]any, v any) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%v is no array", v)
	}
	if most, ok := s["maxItems"].(int); ok && len(list) > most {
		return fmt.Errorf("%d items", len(list))
	}
	for i, item := range list {
		if err := c.value(s["items"], item); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return nil
}

func (c *Contract) text(s map[string]any, v any) error {
	t, ok := v.(string)
	if !ok {
		return fmt.Errorf("%v is no string", v)
	}
	n := utf8.RuneCountInString(t)
	if least, ok := s["minLength"].(int); ok && n < least {
		return fmt.Errorf("%d characters", n)
	}
	if most, ok := s["maxLength"].(int); ok && n > most {
		return fmt.Errorf("%d characters", n)
	}
	if form, ok := s["pattern"].(string); ok && !regexp.MustCompile(form).MatchString(t) {
		return fmt.Errorf("%q does not match %s", t, form)
	}
	if s["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339, t); err != nil {
			return err
		}
	}
	if inner := s["contentSchema"]; inner != nil {
		return c.json(inner, []byte(t))
	}
	return nil
}

// Missing lists the statuses of the contract that Check has not met, but for those named.
func (c *Contract) Missing(but ...string) (missing []string) {
	paths, _ := c.doc["paths"].(map[string]any)
	for template, item := range paths {
		for method, op := range item.(map[string]any) {
			responses, _ := op.(map[string]any)["responses"].(map[string]any)
			for status := range responses {
				at := strings.ToUpper(method) + " " + template + " " + status
				if !c.seen[at] && !slices.Contains(but, status) {
					missing = append(missing, at)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}
