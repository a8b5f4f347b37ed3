package citizen

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/grant"
)

func TestServices(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me").shows(200, "Services you share data with", "No service has your permission")
	b.get("/me/security").shows(200, "Services you share data with")
	b.get("/me/services").shows(200, "There is nothing here yet.")
	w.consents[ayse] = []grant.Consent{
		{Client: "ssi", Scopes: []string{"openid", "email", "profile", "offline_access"}, At: noon.AddDate(0, -1, 0)},
		{Client: "gone", Scopes: []string{"openid"}, At: noon.AddDate(-1, 0, 0)},
	}
	w.consents[mehmet] = []grant.Consent{{Client: "ssi", Scopes: []string{"openid", "address"}, At: noon}}
	b.get("/me").shows(200, "2 services")
	b.get("/me/security").shows(200, "2 services")
	list := b.get("/me/services").shows(200, "SSI Portal", "Your name, date of birth and gender", "Your e-mail address", "You agreed on 4 Feb 2026", "gone",
		"No personal data; only that you signed in.", "Withdraw permission", "Sign out")
	list.hides("Your registered address", "/ssi", "/gone")
	links := list.All("ul.rows a")
	if len(links) != 2 || links[0].Attr("href") == links[1].Attr("href") {
		t.Fatalf("%d links", len(links))
	}
	path := links[0].Attr("href")
	ask := b.get(path).shows(200, "Withdraw your permission?", "SSI Portal", "Your e-mail address", "stays with it", "Cancel")
	if len(w.events) > 0 || len(w.consents[ayse]) != 2 {
		t.Fatal("looking at the question withdrew")
	}

	// Another person's session, or a word of nobody's, withdraws nothing.
	other := w.browser(w.session("s2", mehmet, 0, true))
	for _, p := range []string{path, servicesPath + "/bm90aGluZw", servicesPath + "/ssi", servicesPath + "/%2e"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other.send(method, p, nil)
		}
	}
	if len(w.events) > 0 || len(w.consents[ayse]) != 2 || len(w.consents[mehmet]) != 1 {
		t.Fatal("somebody withdrew what is not theirs")
	}

	w.deaf = true
	b.submit(ask, path).shows(500)
	if len(w.consents[ayse]) != 2 {
		t.Fatal("withdrawn without a record")
	}
	w.deaf = false
	b.get(b.submit(ask, path).to("/me/services?done=withdrawn.")).shows(200, "Your permission is withdrawn.", "gone").hides("SSI Portal")
	b.get("/me/services?done=withdrawn").hides("Your permission is withdrawn.")
	if left := w.consents[ayse]; len(left) != 1 || left[0].Client != "gone" || len(w.consents[mehmet]) != 1 {
		t.Errorf("left %+v", w.consents)
	}
	e := w.events[0]
	if len(w.events) != 1 || e.Name != audit.ConsentWithdrawn || e.Client != "ssi" || e.Subject != string(ayse) || e.Actor != string(ayse) || e.Session != "s1" || e.Details["service"] != "SSI Portal" {
		t.Errorf("%+v", w.events)
	}
	if to := b.submit(ask, path).to("/me/services"); strings.Contains(to, "done") { // a second tab
		t.Error(to)
	}
	b.get(path).to("/me/services")
	if len(w.events) != 1 {
		t.Error("withdrawn twice")
	}
	b.get("/me/signins").shows(200, "Your permission to share data with a service was withdrawn: SSI Portal.")
	b.lang = "tr"
	b.get("/me/services").shows(200, "Bilgi paylaştığınız hizmetler", "İzni geri al")

	// Looking needs a living session, withdrawing a fresh one, which comes back to the question.
	old := w.browser(w.session("s3", ayse, 16*time.Minute, true))
	again := old.get("/me/services").shows(200).All("ul.rows a")[0].Attr("href")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		x := old.started(old.send(method, again, nil))
		if string(x.Ask.Return) != `"`+again+`"` {
			t.Errorf("%s comes back to %s", method, x.Ask.Return)
		}
	}
	if len(w.consents[ayse]) != 1 {
		t.Error("withdrawn by an old session")
	}
}
