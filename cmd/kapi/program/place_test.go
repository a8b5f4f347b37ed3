package program_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// places is a small world in which loopback is Ankara.
const places = "../../../internal/place/testdata/places.mmdb"

func TestGeoFile(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{Settings: map[string]string{"GEO_FILE": places}})
	k.People(people)
	there := me(k, t, mehmet, mehmetPassword, "", 0)
	here := me(k, t, mehmet, mehmetPassword, "", 0)
	for _, page := range []string{"/me/signins", "/me/sessions"} {
		here.Open(k.URL + page).See("Ankara, Türkiye").DontSee("127.0.0.1")
	}
	there.Open(k.URL + "/me").See("My account")
}

func TestGeoFileThatIsMissingOrBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.mmdb")
	if err := os.WriteFile(broken, []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		broken: "KAPI_GEO_FILE: " + broken + " is no MMDB file", filepath.Join(dir, "none"): "no such file",
	} {
		s, err := program.Resolve(map[string]string{"GEO_FILE": path, "DATABASE": "sqlite:" + filepath.Join(dir, "kapi.db")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := program.New(t.Context(), s, program.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
