package storagetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/storage"
)

// canaries plants a marker in every field that may not be readable at rest (L1) and returns them by name.
func canaries(t *testing.T, db *storage.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	mark := func(name string) string {
		v := "Canary-" + name + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")
		all[name] = v
		return v
	}
	r := Record()
	all["national_id"] = string(r.Person.NationalID)
	r.Person.GivenName, r.Person.FamilyName, r.Person.Birthdate = mark("given"), mark("family"), mark("birth")
	r.Person.Address.StreetAddress, r.Contacts.Email.Address = mark("street"), mark("email")
	r.Contacts.Phone.Number = "+90555" + strings.Repeat("7", 7)
	all["phone"] = r.Contacts.Phone.Number
	_, _, err := db.SavePerson(bg, r)
	ok(t, err)
	old := r.Person.NationalID
	r.Person.NationalID = number()
	all["new number"], all["old number"] = string(r.Person.NationalID), string(old)
	_, _, err = db.SavePerson(bg, r)
	ok(t, err)
	id := r.Account.ID

	token, code, access := mark("session-token"), mark("code"), mark("access-token")
	s := session.Session{
		ID: uuid.NewString(), Account: id, CreatedAt: Start, SeenAt: Start, ExpiresAt: Start.Add(time.Hour), Network: mark("network"), Agent: mark("agent"),
		Proofs: []factors.Proof{{Factor: "password", Account: id, Channel: mark("proof")}},
	}
	ok(t, db.CreateSession(bg, s, secret.Hash(token), judged(t, db, id)))
	g := newGrant(s)
	g.Code.Hash, g.Nonce, g.Subject, g.Claims = secret.Hash(code), mark("nonce"), mark("sub"), []byte(`"`+mark("claims")+`"`)
	ok(t, db.CreateGrant(bg, g))
	ok(t, db.CreateAccess(bg, grant.Access{Hash: secret.Hash(access), Grant: g.ID, Client: g.Client, ExpiresAt: Start.Add(time.Hour)}))
	tx := signin.Transaction{
		ID: uuid.NewString(), Browser: secret.Hash(mark("browser")), State: signin.Open, ExpiresAt: Start.Add(time.Hour),
		Ask: signin.Ask{LoginHint: mark("login-hint"), Return: []byte(`"` + mark("state") + `"`)}, Progress: signin.Progress{Pending: mark("pending")},
	}
	ok(t, db.CreateTransaction(bg, tx))
	tx.Version, tx.Refusal.Description = 1, mark("refusal")
	ok(t, second(db.SaveTransaction(bg, tx)))
	ok(t, db.Record(bg, audit.Event{At: Start, Name: audit.SigninFirst, Subject: string(id), Network: mark("audit-network"), Agent: mark("audit-agent"), Details: map[string]string{"x": mark("audit-detail")}}))
	ok(t, db.Record(bg, audit.Event{At: Start, Name: audit.ClientRefused, Network: mark("nobody-network")}))
	ok(t, second((&audit.Sealer{Chain: db, Now: NewClock().Now}).Seal(bg)))
	ok(t, db.Record(bg, audit.Event{At: Start, Name: audit.SigninFirst, Subject: string(id), Network: mark("pending-network")}))
	ok(t, second(db.Credentials("password").Create(bg, factors.Credential{Account: id, Data: []byte(mark("credential"))})))
	ok(t, second(db.Tickets("sms").Open(bg, factors.Ticket{Binding: "b", Purpose: factors.SignIn, Data: []byte(mark("ticket")), ExpiresAt: Start.Add(time.Hour)},
		&factors.Message{Account: id, Channel: "sms", Text: mark("text"), Deadline: Start.Add(time.Hour)})))
	ok(t, db.Enqueue(bg, notify.Message{Channel: "sms", To: mark("to"), Text: mark("text2"), Deadline: Start.Add(time.Hour)}))
	ok(t, second(db.Take(bg, mark("ladder-key"), throttle.Ladder{Free: 1}, Start)))
	ok(t, second(db.Hit(bg, mark("window-key"), []throttle.Window{{N: 1, Per: 1}}, Start)))
	ok(t, db.UseOnce(bg, "jti", secret.Hash(mark("jti")), Start))
	return all
}

// look searches for each canary as it is, in hex and in base64.
func look(t *testing.T, where string, data []byte, all map[string]string) {
	t.Helper()
	lower := bytes.ToLower(data)
	for name, v := range all {
		forms := map[string][]byte{
			"clear": []byte(strings.ToLower(v)), "hex": []byte(hex.EncodeToString([]byte(v))),
			"base64": []byte(strings.ToLower(base64.StdEncoding.EncodeToString([]byte(v))[:len(v)])),
		}
		for form, text := range forms {
			if bytes.Contains(lower, text) {
				t.Errorf("%s is readable in %s (%s)", name, where, form)
			}
		}
	}
}

func TestL1_CanariesSQLite(t *testing.T) {
	address := SQLiteURL(t)
	db := Open(t, address, NewClock())
	all := canaries(t, db)
	files, err := filepath.Glob(strings.TrimPrefix(address, "sqlite:") + "*")
	ok(t, err)
	found := false
	for _, f := range files {
		data, err := os.ReadFile(f)
		ok(t, err)
		info, err := os.Stat(f)
		ok(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", filepath.Base(f), info.Mode())
		}
		look(t, filepath.Base(f), data, all)
		found = found || bytes.Contains(data, []byte("rp1")) // a clear column, so that the search is known to see rows
	}
	if !found || len(files) < 2 {
		t.Errorf("nothing was searched: %v", files)
	}
}

func TestL1_CanariesPostgres(t *testing.T) {
	server := testpg.Shared(t)
	address := testpg.URL(t)
	all := canaries(t, Open(t, address, NewClock()))
	u, err := url.Parse(address)
	ok(t, err)
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	dump, err := exec.CommandContext(ctx, filepath.Join(server.Bin, "pg_dump"), "--inserts", "-U", "kapi", server.Address(strings.TrimPrefix(u.Path, "/"))).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("pg_dump: %v %s", err, exit.Stderr)
	}
	if !bytes.Contains(dump, []byte("'rp1'")) {
		t.Error("nothing was searched")
	}
	look(t, "pg_dump", dump, all)
}
