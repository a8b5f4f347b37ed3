package signin

import (
	"net/url"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/fault"
)

var selfPaths = []struct {
	path string
	ok   bool
}{
	{"/me", true}, {"/me?done=x", true}, {"/me/sessions/a-b_c", true}, {"/me/signins?before=5", true}, {"/me/password?for=off", true},
	{"", false}, {"/", false}, {"/mean", false}, {"/signin/1", false}, {"me", false}, {"//me", false}, {"/me//x", false}, {"///me", false},
	{"https://evil.example/me", false}, {"//evil.example/me", false}, {`/\evil.example/me`, false}, {"/me/../console", false},
	{"/me/%2e%2e/console", false}, {"/me/%2F%2Fevil.example", false}, {"/me\r\nSet-Cookie: a=b", false}, {"/app", true}, {"/app?x=1", true}, {"/app/sign-in", false}, {"/apple", false}, {"/app#there", false}, {"/me#there", false}, {"javascript:/me", false},
	{"/me/%zz", false}, {"/me/" + strings.Repeat("a", 1000), false},
}

func TestSelfPath(t *testing.T) {
	for _, tt := range selfPaths {
		if got, ok := selfPath(tt.path); ok != tt.ok || ok && got != tt.path {
			t.Errorf("selfPath(%q) = %q, %v; want %v", tt.path, got, ok, tt.ok)
		}
	}
}

func TestStartSelfRefusesOtherPlaces(t *testing.T) {
	f := &Flow{} // nothing may be asked of it
	for _, a := range []struct {
		path    string
		browser []byte
		kind    fault.Kind
	}{{"/console", []byte("b"), fault.Invalid}, {"//evil.example/me", []byte("b"), fault.Invalid}, {`/me?\`, []byte("b"), fault.Invalid}, {"/me", nil, fault.Internal}} {
		if _, err := f.StartSelf(t.Context(), SelfAsk{Path: a.path}, Visit{Browser: a.browser}); err == nil || fault.KindOf(err) != a.kind {
			t.Errorf("%q: %v, want kind %v", a.path, err, a.kind)
		}
	}
}

func FuzzSelfPath(f *testing.F) {
	for _, tt := range selfPaths {
		f.Add(tt.path)
	}
	here, err := url.Parse("https://kapi.example/signin/1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := selfPath(path)
		if !ok {
			return
		}
		to, err := here.Parse(got)
		if err != nil || to.Host != here.Host || to.Scheme != here.Scheme || to.Path != "/me" && to.Path != "/app" && !strings.HasPrefix(to.Path, "/me/") {
			t.Errorf("%q leads to %v, %v", path, to, err)
		}
	})
}
