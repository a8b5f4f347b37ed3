package program_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// picture is a PNG as Kapi itself writes it, so that painting it anew changes nothing, and its hash.
func picture(t testing.TB, shade uint8) (file []byte, hash string) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 48, 48))
	for i := range 48 * 48 {
		m.SetRGBA(i%48, i/48, color.RGBA{shade, uint8(i), uint8(i / 48), 255})
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return b.Bytes(), hex.EncodeToString(sum[:])
}

// strip looks at the service strip: the address of its picture, and the initial that stands there without one.
func strip(t testing.TB, body string) (src, initial string) {
	t.Helper()
	n, err := htmlcheck.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range n.All(".service img") {
		src += img.Attr("src")
	}
	for _, tile := range n.All(".service span.tile") {
		initial += tile.Text()
	}
	return src, initial
}

// A logo stands on every page of a sign-in, costs no page a statement, and goes when the file says so.
func TestLogo(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		one, first := picture(t, 1)
		two, second := picture(t, 2)
		k.Pictures = fstest.MapFS{"logos/one.png": {Data: one}, "two.png": {Data: two}}
		rp := k.RP("ssi", map[string]any{"kapi_logo": "logos/one.png", "kapi_consent": "always"})
		plain := k.RP("plain", nil)
		k.Quiet()
		get := func(hash string, status int, reads int64) reply {
			t.Helper()
			k.Counter.Reset()
			r := send(t, nil, http.MethodGet, k.URL+"/logo/"+hash+".png", nil)
			if got := k.Counter.Reads.Load(); r.Status != status || got != reads || k.Counter.Writes.Load() != 0 {
				t.Errorf("%s: %d with %d reads, want %d with %d", hash, r.Status, got, status, reads)
			}
			return r
		}
		if r := get(first, http.StatusOK, 1); r.Body != string(one) {
			t.Errorf("%d bytes are not the picture", len(r.Body))
		}
		get(first, http.StatusOK, 0)
		get(second, http.StatusNotFound, 0)
		get(strings.Repeat("0", 64), http.StatusNotFound, 0)

		b := testkapi.NewBrowser(t)
		page := k.URL + send(t, b, http.MethodGet, rp.URL(), nil).Location
		k.Counter.Reset()
		if r := send(t, b, http.MethodGet, page, nil); r.Status != http.StatusOK || k.Counter.Reads.Load() > 1 || k.Counter.Writes.Load() > 0 {
			t.Errorf("the first page: %d with %d reads; the picture must cost none", r.Status, k.Counter.Reads.Load())
		}
		b.Open(page)
		want := func(where, picture, letter string) {
			t.Helper()
			if src, initial := strip(t, b.Body); src != picture || initial != letter {
				t.Errorf("%s: picture %q and initial %q, want %q and %q", where, src, initial, picture, letter)
			}
		}
		here := "/logo/" + first + ".png"
		want("sign-in", here, "")
		txn := strings.Split(b.URL.Path, "/")[2]
		forgot := testkapi.NewBrowser(t)
		for _, path := range []string{"/recover?from=" + txn, "/recover/other?from=" + txn} {
			want("sign-in", here, "")
			if src, _ := strip(t, send(t, b, http.MethodGet, k.URL+path, nil).Body); src != here {
				t.Errorf("%s: %q", path, src)
			}
			if src, _ := strip(t, send(t, forgot, http.MethodGet, k.URL+path, nil).Body); src != "" {
				t.Errorf("%s shows another browser what this one signs in to", path)
			}
		}
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		want("consent", here, "")
		b.Submit(map[string]string{"consent": "yes"})
		rp.Answer(b)
		b.Open(k.URL + "/end_session?client_id=ssi")
		want("sign-out", here, "")
		b.Open(k.URL + "/me")
		want("a person's own pages", "", "")
		b = testkapi.NewBrowser(t).Open(plain.URL())
		want("a service without one", "", "T")

		// Another picture is at another address; the old one is nobody's any more.
		k.RP("ssi", map[string]any{"kapi_logo": "two.png"})
		b = testkapi.NewBrowser(t).Open(rp.URL())
		want("another picture", "/logo/"+second+".png", "")
		get(first, http.StatusNotFound, 0)
		get(second, http.StatusOK, 1)
		k.RP("ssi", nil)
		b = testkapi.NewBrowser(t).Open(rp.URL())
		want("removed", "", "T")
		get(second, http.StatusNotFound, 0)
	})
}

// The command reads pictures below the folder of its file, wherever it is run, and show prints no bytes of them.
func TestLogo_Command(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	dir := t.TempDir()
	good, hash := picture(t, 3)
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := func(logo string) string {
		return write("in/clients.json", fmt.Sprintf(`[{"client_id":"ssi","client_secret":"0123456789abcdef0123456789abcdef","redirect_uris":["https://ssi.example/cb"],"kapi_logo":%q}]`, logo))
	}
	kapi := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		status := program.Main(args, environ(k), &out, &errs)
		return status, out.String() + errs.String()
	}
	write("in/logos/ssi.png", string(good))
	write("outside.png", string(good))
	if status, said := kapi("client", "apply", file("logos/ssi.png")); status != 0 || said != "ssi: created\n" {
		t.Fatalf("%d %s", status, said)
	}
	if status, said := kapi("client", "apply", file("logos/ssi.png")); status != 0 || said != "ssi: unchanged\n" {
		t.Errorf("again: %d %s", status, said)
	}
	_, shown := kapi("client", "show", "ssi")
	if !strings.Contains(shown, fmt.Sprintf(`"kapi_logo": "sha256:%s 48x48 %d bytes"`, hash, len(good))) || len(shown) > 3000 {
		t.Errorf("shown %s", shown)
	}
	if status, said := kapi("client", "apply", write("elsewhere/shown.json", shown)); status != 0 || said != "ssi: unchanged\n" {
		t.Errorf("what is shown, applied where no picture is: %d %s", status, said)
	}
	if err := os.Symlink("../outside.png", filepath.Join(dir, "in/link.png")); err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"../outside.png", "link.png", filepath.Join(dir, "outside.png"), "/etc/hostname", "logos"} {
		if status, said := kapi("client", "apply", file(outside)); status == 0 || !strings.Contains(said, "kapi_logo") {
			t.Errorf("%s: %d %s", outside, status, said)
		}
	}
	if _, again := kapi("client", "show", "ssi"); again != shown {
		t.Errorf("a refused file changed the client: %s", again)
	}
	k.App().Refresh(t.Context())
	if r := send(t, nil, http.MethodGet, k.URL+"/logo/"+hash+".png", nil); r.Status != http.StatusOK || r.Body != string(good) {
		t.Errorf("served: %d", r.Status)
	}
}
