package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestB2_CookieFlags(t *testing.T) {
	for _, secure := range []bool{true, false} {
		w := httptest.NewRecorder()
		c := Cookies{Secure: secure}
		c.Set(w, SessionCookie, "value", 0)
		c.Set(w, KnownCookie, "value", Year)
		c.Clear(w, SessionCookie)
		got := (&http.Response{Header: w.Header()}).Cookies()
		if len(got) != 3 {
			t.Fatalf("%d cookies", len(got))
		}
		for i, k := range got {
			if !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Domain != "" || k.Secure != secure {
				t.Errorf("flags of %s", w.Header().Values("Set-Cookie")[i])
			}
			if strings.HasPrefix(k.Name, "__Host-kapi-") != secure {
				t.Errorf("name %s, secure %v", k.Name, secure)
			}
		}
		if got[0].MaxAge != 0 || got[1].MaxAge != 31536000 || got[2].MaxAge != -1 {
			t.Errorf("lives %d %d %d", got[0].MaxAge, got[1].MaxAge, got[2].MaxAge)
		}
	}
}

func TestB1_PlantedCookie(t *testing.T) {
	for name, tc := range map[string]struct {
		secure bool
		header string
		want   string
	}{
		"ours":                     {true, "__Host-kapi-session=a", "a"},
		"without the prefix":       {true, "kapi-session=a", ""},
		"beside a planted one":     {false, "kapi-session=a; kapi-session=planted", ""},
		"the same twice":           {false, "kapi-session=a; kapi-session=a", "a"},
		"none":                     {false, "other=a", ""},
		"too long to be one of us": {false, "kapi-session=" + strings.Repeat("a", mostCookie+1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", tc.header)
			if got := (Cookies{Secure: tc.secure}).Get(r, SessionCookie); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzCookies(f *testing.F) {
	f.Add("kapi-session=a; kapi-session=b")
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", header)
		if v := (Cookies{}).Get(r, SessionCookie); len(v) > mostCookie {
			t.Errorf("%d bytes", len(v))
		}
	})
}
