package e2e

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// site is an institution that says on its page how it was answered.
func site(t *testing.T, listen string) string {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<h1>Framing</h1><iframe src="/framed"></iframe>`)
		for _, src := range r.URL.Query()["src"] {
			fmt.Fprintf(w, `<iframe src="%s"></iframe>`, html.EscapeString(src))
		}
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en" dir="ltr"><title>Institution</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"><main>`)
		switch r.URL.Path {
		case "/frame":
			frame(w, r)
		case "/cb":
			fmt.Fprintf(w, `<h1>Answered by %s, code %v, state %s</h1>`, r.Method, r.FormValue("code") != "", html.EscapeString(r.FormValue("state")))
		}
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// How answers come back to an institution in a browser, under the policy of our pages: as a form that sends itself, or is sent by its
// button; to an app at an IPv6 address. The pages on the way that other stories pass by. And B2: in a frame on somebody else's
// page, nothing of ours is ever drawn.
func TestB2_AnswersAndFrames(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	local := strings.Replace(site(t, "127.0.0.1:0"), "127.0.0.1", "localhost", 1) // the same site as Kapi, so that a frame there would even have its cookies
	clients := []any{map[string]any{"client_id": "form", "client_name": "Form", "client_name#tr": "Form", "client_secret": portalSecret, "redirect_uris": []string{local + "/cb"}}}
	app := ""
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("SKIPPED, NOT TESTED: an app at [::1], which this machine does not have: %v", err)
	} else {
		l.Close()
		app = site(t, "[::1]:0") + "/cb"
		clients = append(clients, map[string]any{"client_id": "app", "client_name": "App", "application_type": "native", "token_endpoint_auth_method": "none", "redirect_uris": []string{"http://[::1]/cb"}})
	}
	c.kapi("client", "apply", c.file("answers.json", clients))
	ask := func(client, to string, more ...string) string {
		v := url.Values{"client_id": {client}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s-1"}, "redirect_uri": {to},
			"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return c.Issuer + "/authorize?" + v.Encode()
	}
	byForm := ask("form", local+"/cb", "response_mode", "form_post")
	c.knows(byForm)

	// Without a script the page stays until its button is pressed, and is looked at.
	quiet := Visit(t, How{NoScript: true}).Open(byForm).SignsIn(ayse).Confirms(c, ayse).At(c.Issuer).See("You are going back to the service", "If the page does not move on by itself, press the button.")
	_, err := chromedp.Call(quiet.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false})
	quiet.do("let scripts run", err)
	_, err = step(quiet, chromedp.Evaluate[chromedp.Void](axe))
	quiet.do("load axe", err)
	for _, p := range quiet.axe(false) {
		t.Error(p)
	}
	quiet.Submit().At(local + "/cb").See("Answered by POST, code true, state s-1")

	// With one it sends itself.
	b := Visit(t, How{Turkish: true, Unlooked: true}).Open(byForm)
	signin := b.Address()
	c.Pass(31e9) // codes are not sent faster than a person types
	b.SignsIn(ayse).Confirms(c, ayse).Arrives(local + "/cb")
	b.Waits("Answered by POST, code true, state s-1")

	b.how.Unlooked = false
	b.Open(signin).See("This sign-in is complete")
	b.Open(ask("form", local+"/cb", "prompt", "select_account")).See("Who do you want to continue as?")
	b.how.Unlooked = true
	b.Press("Sign in as somebody else").At(c.Issuer + "/signin/").See("Sign in")
	b.Open(ask("form", local+"/cb", "prompt", "select_account")).Submit().At(local + "/cb?").See("Answered by GET, code true, state s-1")

	if app != "" { // the last form leads, by a redirect, to where no source of a policy can be written
		c.Pass(31e9)
		Visit(t, How{Unlooked: true}).Open(ask("app", app)).SignsIn(ayse).Confirms(c, ayse).At(app + "?").See("Answered by GET, code true, state s-1")
	}

	b.said("")
	framed := []string{byForm, c.Issuer + "/me", c.Issuer + "/help", c.Issuer + "/end_session"}
	b.Open(local + "/frame?" + url.Values{"src": framed}.Encode()).See("Framing")
	got, err := chromedp.Call(b.ctx, page.GetFrameTree, struct{}{})
	b.do("look at the frames", err)
	var drawn []string
	for _, f := range got.FrameTree.ChildFrames {
		drawn = append(drawn, f.Frame.URL)
	}
	if !slices.Contains(drawn, local+"/framed") || slices.ContainsFunc(drawn, func(s string) bool { return strings.HasPrefix(s, c.Issuer) }) {
		t.Errorf("drawn in frames: %q", drawn)
	}
	if said := strings.Join(b.said(""), "\n"); strings.Count(said, "frame-ancestors 'none'") != len(framed) {
		t.Errorf("not each of the frames was refused for our policy:\n%s", said)
	}
}
