package program_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// T1: names and addresses of an institution that are script, break out of an attribute or turn the text around are refused
// at the registration, or stand on our pages as text.
func TestT1_HostileInstitution(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	apply := func(members map[string]any) error {
		file := map[string]any{"client_id": "hostile", "client_secret": "a secret of hostile that is long enough for anybody", "redirect_uris": []string{"https://hostile.example/cb"}}
		for name, v := range members {
			file[name] = v
		}
		b, err := json.Marshal([]any{file})
		if err != nil {
			t.Fatal(err)
		}
		return k.App().ApplyClients(t.Context(), strings.NewReader(string(b)), io.Discard)
	}
	for name, members := range map[string]map[string]any{
		"text turned around": {"client_name": "x\u202egro.live"}, "a line in a name": {"client_name": "a\nb"}, "an unseen letter": {"client_name": "Tax\u200b Office"},
		"our own name": {"client_name": "Kapı"}, "our own name, in other letters": {"client_name#en": " kapi "},
		"a script for an address": {"redirect_uris": []string{"javascript:alert(1)//"}}, "data for an address": {"redirect_uris": []string{"data:text/html,x"}},
		"a fragment": {"redirect_uris": []string{"https://hostile.example/#x"}}, "plain http": {"redirect_uris": []string{"http://hostile.example/cb"}},
		"a policy in a form target": {"kapi_form_action_origins": []string{"https://a.example; script-src *"}}, "a script as form target": {"kapi_form_action_origins": []string{"javascript:alert(1)"}},
		"a way out that is script": {"post_logout_redirect_uris": []string{"javascript:alert(1)"}}, "a user in an address": {"redirect_uris": []string{"https://kapi.example@hostile.example/cb"}},
		"a star": {"redirect_uris": []string{"https://*.example/cb"}},
	} {
		if apply(members) == nil {
			t.Errorf("%s was registered", name)
		}
	}
	for _, name := range []string{`<script>alert(1)</script>`, `"><svg onload=alert(1)>`, `'onmouseover='alert(1)`, "{{.Secret}}", "</title><img src=x onerror=alert(1)>", "&lt;b&gt;"} {
		rp := k.RP("hostile", map[string]any{"client_name": name, "institution": name, "client_name#tr": name, "kapi_consent": "always"})
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		look := func() {
			t.Helper()
			page, err := htmlcheck.Parse(b.Body)
			if err != nil {
				t.Fatal(err)
			}
			for _, script := range page.All("script") {
				if !strings.HasPrefix(script.Attr("src"), "/static/") || script.Text() != "" {
					t.Errorf("a script on %s: %s", b.URL, script.Text())
				}
			}
			for _, bad := range []string{"svg[onload]", "img[onerror]", "[onmouseover]"} {
				if page.Has(bad) {
					t.Errorf("%s is on the page %s", bad, b.URL)
				}
			}
			b.See(name, "hostile.example") // as text, with the address below it
			if strings.IndexFunc(b.Body, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }) >= 0 {
				t.Error("a mark that turns text around")
			}
		}
		look()
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		look()
		b.Submit(map[string]string{"consent": "yes"})
		rp.Answer(b)
		b.Open(k.URL + "/me/signins").See(name)
		b.Open(k.URL + "/end_session?client_id=hostile").See("Sign out")
		if strings.Contains(b.Body, "<script>alert") || strings.Contains(b.Body, "<svg onload") {
			t.Error("script on the page of signing out")
		}
	}
}

// T1: a logo is a picture that Kapi painted, or it is refused; nothing that came with it is ever served, and nothing fetched.
func TestT1_HostileLogo(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	const script = "<script>alert('logo')</script>"
	good, hash := picture(t, 5)
	bomb := bytes.Clone(good)
	binary.BigEndian.PutUint32(bomb[16:], 30000)
	binary.BigEndian.PutUint32(bomb[20:], 30000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	k.Pictures = fstest.MapFS{
		"good.png": file(good), "polyglot.png": file(append(bytes.Clone(good), script...)), "bomb.png": file(bomb), "cut.png": file(good[:len(good)/2]),
		"svg.png":  file([]byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>`)),
		"page.png": file([]byte("<!doctype html>" + script)), "giant.png": file(make([]byte, 300<<10)), "moving.gif": file([]byte("GIF89a" + script)),
	}
	fetched := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the picture was fetched") }))
	defer fetched.Close()
	apply := func(member, logo string) error {
		b, err := json.Marshal([]any{map[string]any{"client_id": "hostile", "client_secret": "a secret of hostile that is long enough for anybody",
			"redirect_uris": []string{"https://hostile.example/cb"}, member: logo}})
		if err != nil {
			t.Fatal(err)
		}
		err = k.App().ApplyClientsIn(t.Context(), bytes.NewReader(b), k.Pictures, io.Discard)
		return errors.Join(err, k.App().Refresh(t.Context()))
	}
	if err := apply("kapi_logo", "good.png"); err != nil {
		t.Fatal(err)
	}
	rp := k.RP("shown", map[string]any{"kapi_logo": "polyglot.png"})
	here := "/logo/" + hash + ".png"
	for _, logo := range []string{"svg.png", "page.png", "bomb.png", "cut.png", "giant.png", "moving.gif", "../../etc/passwd", "/etc/passwd", "nothing.png", ".",
		"javascript:alert(1)", "data:image/svg+xml,<svg/>", fetched.URL + "/logo.png", strings.TrimPrefix(fetched.URL, "http:"), "sha256:" + hash, `x" onerror="alert(1)`} {
		if apply("kapi_logo", logo) == nil {
			t.Errorf("%q was registered", logo)
		}
	}
	for _, member := range []string{"logo_uri", "policy_uri", "tos_uri", "client_uri", "initiate_login_uri"} {
		if apply(member, fetched.URL+"/logo.png") == nil {
			t.Errorf("%s was registered", member)
		}
	}
	// What was registered before stands, and of the file that is two things at once there is only the picture.
	b := testkapi.NewBrowser(t).Open(rp.URL())
	if src, initial := strip(t, b.Body); src != here || initial != "" {
		t.Errorf("the strip has %q and %q", src, initial)
	}
	r := send(t, b, http.MethodGet, k.URL+here, nil, "Accept", "text/html")
	if r.Status != http.StatusOK || r.Body != string(good) || strings.Contains(r.Body, "alert") {
		t.Errorf("%d, %d bytes", r.Status, len(r.Body))
	}
	inspect(t, spoken{Method: http.MethodGet, Path: here, Status: r.Status, Header: r.Header, Body: r.Body}, false)
	if r := send(t, nil, http.MethodGet, k.URL+strings.TrimSuffix(here, ".png")+".svg", nil); r.Status != http.StatusNotFound {
		t.Errorf("as SVG: %d", r.Status)
	}
}

// T1: pages of others may call the endpoints only where they are registered, and never with the person's cookies.
func TestT1_ForeignPagesCall(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	k.RP("spa", map[string]any{"client_secret": nil, "token_endpoint_auth_method": "none", "redirect_uris": []string{"https://spa.example/cb"}})
	k.RP("web", nil)
	b := me(k, t, mehmet, mehmetPassword, "", 0)
	open := map[string]bool{"/keys": true, "/.well-known/openid-configuration": true}
	mine := map[string]bool{"/oauth/token": true, "/userinfo": true, "/oauth/revoke": true}
	for _, path := range []string{"/keys", "/.well-known/openid-configuration", "/oauth/token", "/userinfo", "/oauth/revoke", "/oauth/introspect", "/authorize", "/authorize/callback", "/end_session", "/me", "/me/password", "/signin/x", "/", "/readyz"} {
		for _, origin := range []string{"https://spa.example", "https://web.example", "https://evil.example", "null", "https://spa.example.evil.example", "http://spa.example", k.URL} {
			for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost} {
				r := send(t, b, method, k.URL+path, url.Values{}, "Origin", origin, "Sec-Fetch-Site", "cross-site", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")
				allow := r.Header.Get("Access-Control-Allow-Origin")
				switch {
				case r.Header.Get("Access-Control-Allow-Credentials") != "":
					t.Errorf("%s %s from %s: with cookies", method, path, origin)
				case open[path] && method != http.MethodPost && allow != "*":
					t.Errorf("%s %s from %s: %q", method, path, origin, allow)
				case mine[path] && origin == "https://spa.example" && method != http.MethodGet && allow != origin:
					t.Errorf("%s %s from %s: %q", method, path, origin, allow)
				case !open[path] && !(mine[path] && origin == "https://spa.example") && allow != "":
					t.Errorf("%s %s from %s: %q", method, path, origin, allow)
				}
			}
		}
	}
}
