package program_test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	virtual "github.com/descope/virtualwebauthn"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// KAPI_WEBAUTHN_ALLOWED: a key of another model, and one that says nothing of its maker, are refused with a sentence that says what to do;
// the page says before that not every key will do. One on the list is added, and counts as the hardware that it is.
func TestOnlyListedModelsOfKeys(t *testing.T) {
	t.Parallel()
	root := issueMaker(t, "Root", nil, nil)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	model := uuid.New()
	k := testkapi.Start(t, testkapi.Options{Host: "localhost", Settings: map[string]string{"WEBAUTHN_ROOTS": roots, "WEBAUTHN_ALLOWED": model.String()}})
	k.People(people)
	b := atSecurity(t, k, "webauthn").See("Only the models of keys that the institution accepts")
	refused := func(key *usbKey, answer func(options string) string) {
		t.Helper()
		b.Press("Add a")
		b.Submit(map[string]string{"name": "Key", "credential": answer(optionsOf(t, b))}).See("is not accepted here", "share the model").DontSee("The key was added.")
	}
	other, quiet := newKey(k), newKey(k)
	refused(other, func(options string) string {
		return vouched(t, other, options, issueMaker(t, "Leaf", root, other.Aaguid[:]))
	})
	quiet.Aaguid = model
	refused(quiet, func(options string) string {
		o, err := virtual.ParseAttestationOptions(options)
		if err != nil {
			t.Fatal(err)
		}
		quiet.Options.UserHandle = []byte(o.UserID)
		return virtual.CreateAttestationResponse(quiet.rp, quiet.Authenticator, quiet.Credential, *o) // by its own key
	})
	b.Press("Add a").Submit(map[string]string{"name": "Key", "credential": vouched(t, quiet, optionsOf(t, b), issueMaker(t, "Leaf", root, quiet.Aaguid[:]))})
	b.See("The key was added.", "Its maker vouches for the hardware.")
}
