package program_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// The entry of a code that was sent says who acted, for which client, in which session and request, though the factor that sends it knows none
// of that.
func TestACodeThatWasSentIsInTheRecordWhole(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := k.RP("ssi", nil), owner(t, k)
		sent := func(what, request, client string, session bool) {
			t.Helper()
			const entries = "(SELECT at, name, actor, subject, client, session, request FROM audit_pending UNION SELECT at, name, actor, subject, client, session, request FROM audit_log) e WHERE name = 'code.sent' AND request = '"
			if n := one[int64](t, db, "SELECT COUNT(*) FROM "+entries+request+"'"); n != 1 || request == "" {
				t.Errorf("%s: %d entries of request %q", what, n, request)
				return
			}
			row := one[string](t, db, "SELECT client || CASE WHEN session = '' THEN '' ELSE ' in a session' END || CASE WHEN actor = subject AND actor <> '' THEN '' ELSE ' by '||actor END FROM "+entries+request+"'")
			want := client
			if session {
				want += " in a session"
			}
			if row != want {
				t.Errorf("%s: %q, want %q", what, row, want)
			}
		}
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See(secondStep)
		sent("at sign-in", b.Reply.Get("X-Request-Id"), "ssi", false)
		k.Clock.Add(31 * time.Second)
		again := send(t, b, http.MethodPost, b.URL.String()+"/again", url.Values{})
		if again.Status != http.StatusSeeOther {
			t.Fatalf("%d %s", again.Status, again.Body)
		}
		sent("sent again", again.Header.Get("X-Request-Id"), "ssi", false)
		b.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 2)})
		rp.Answer(b)
		k.Clock.Add(time.Minute)
		b.Open(k.URL + "/me/two-factor/off").Press("Go on").See("phone ending 01")
		if n := one[int64](t, db, "SELECT COUNT(*) FROM (SELECT id, name, client, session FROM audit_pending UNION SELECT id, name, client, session FROM audit_log) e WHERE name = 'code.sent' AND client = 'kapi' AND session <> ''"); n != 1 {
			t.Errorf("%d entries for a change", n)
		}
	})
}
