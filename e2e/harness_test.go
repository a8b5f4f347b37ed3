package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if clock := os.Getenv(stronglyEnv); clock != "" {
		os.Exit(serveStrongly(clock))
	}
	code := m.Run()
	stopChrome()
	cleanBinary()
	os.Exit(code)
}

// The inspection must find what it is there for: a test of the tests.
func TestInspectionFindsBadPages(t *testing.T) {
	const good = `<!doctype html><html lang="en" dir="ltr"><head><title>T</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"></head><body><main><h1>H</h1>%s</main></body></html>`
	for name, tc := range map[string]struct{ csp, body, want string }{
		"fine":               {"", `<p>Fine.</p>`, ""},
		"inline script":      {"default-src 'self'; img-src data:", `<script>1</script>`, "Content Security Policy"},
		"inline style":       {"", `<p style="color:red">x</p>`, "inline code"},
		"too wide":           {"", `<pre>` + strings.Repeat("x", 200) + `</pre>`, "scrolls sideways"},
		"field without name": {"", `<form><input name="code"></form>`, "axe (dark false) label"},
		"faint in the dark":  {"", `<link rel="stylesheet" href="/dark.css"><p>faint</p>`, "axe (dark true) color-contrast"},
		"missing file":       {"", `<link rel="stylesheet" href="/none.css">`, "console error: Failed to load resource"},
		"script error":       {"", `<script src="/bad.js"></script>`, "boom"},
		"two headings":       {"", `<h1>again</h1>`, "not one h1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/":
					w.Header().Set("Content-Security-Policy", tc.csp)
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					fmt.Fprintf(w, good, tc.body)
				case "/dark.css":
					w.Header().Set("Content-Type", "text/css")
					fmt.Fprint(w, `@media (prefers-color-scheme: dark) { body { background: #222; color: #333 } }`)
				case "/bad.js":
					w.Header().Set("Content-Type", "text/javascript")
					fmt.Fprint(w, `throw new Error("boom")`)
				default:
					http.NotFound(w, r)
				}
			}))
			defer s.Close()
			b := Visit(t, How{Unlooked: true})
			b.Open(s.URL + "/")
			found := strings.Join(b.problems(), "\n")
			if (tc.want == "") != (found == "") || !strings.Contains(found, tc.want) {
				t.Errorf("found %q, want %q", found, tc.want)
			}
		})
	}
}

func TestBrowserWithoutScriptRunsNone(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en" dir="ltr"><title>T</title><main><h1>H</h1><p id="p">quiet</p><script>document.getElementById("p").textContent = "ran"</script></main>`)
	}))
	defer s.Close()
	Visit(t, How{Unlooked: true}).Open(s.URL).See("ran")
	Visit(t, How{Unlooked: true, NoScript: true}).Open(s.URL).See("quiet").SeeNot("ran")
}
