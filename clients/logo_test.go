package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/kapi-id/kapi/internal/audit"
)

// painting is a picture in which every pixel differs from its neighbours, half of it clear.
func painting(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x * 7), uint8(y * 5), uint8(x ^ y), uint8(255 * (y * 2 / h))})
		}
	}
	return m
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claiming is a PNG whose header says w by h, with a right checksum: a bomb, when something believes it.
func claiming(picture []byte, w, h uint32) []byte {
	b := bytes.Clone(picture)
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

// chunk is one more chunk of a PNG, before its IDAT.
func chunk(picture []byte, kind, content string) []byte {
	c := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	c = append(append(c, kind...), content...)
	c = binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	return bytes.Join([][]byte{picture[:33], c, picture[33:]}, nil)
}

func TestTakeLogo_Refuses(t *testing.T) {
	good := pngOf(t, painting(64, 64))
	photo := jpegOf(t, painting(64, 64))
	var moving bytes.Buffer
	if err := gif.Encode(&moving, painting(64, 64), nil); err != nil {
		t.Fatal(err)
	}
	wide := bytes.Clone(photo) // SOF0 of the encoder: ff c0, length, precision, height, width
	sof := bytes.Index(wide, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(wide[sof+5:], 30000)
	binary.BigEndian.PutUint16(wide[sof+7:], 30000)
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"SVG":                             {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), "is SVG or HTML, which can hold script; save it as PNG"},
		"SVG with a declaration":          {[]byte("\ufeff \n<?xml version=\"1.0\"?><svg/>"), "is SVG or HTML"},
		"HTML named .png":                 {[]byte(`<!doctype html><script>alert(1)</script>`), "is SVG or HTML"},
		"empty":                           {nil, "is neither PNG nor JPEG"},
		"text":                            {[]byte("just words"), "is neither PNG nor JPEG"},
		"GIF, still or moving":            {moving.Bytes(), "is neither PNG nor JPEG"},
		"WebP":                            {[]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "is neither PNG nor JPEG"},
		"nothing but a signature":         {good[:8], "is damaged: its size cannot be read"},
		"PNG cut off":                     {good[:len(good)/2], "is damaged or cut off"},
		"PNG without its end":             {good[:len(good)-12], "is damaged or cut off"},
		"JPEG cut off":                    {photo[:len(photo)-40], "is damaged or cut off"},
		"a wrong checksum":                {append(bytes.Clone(good[:40]), append([]byte{good[40] ^ 1}, good[41:]...)...), "is damaged or cut off"},
		"a bomb":                          {claiming(good, 30000, 30000), "is 30000 by 30000 pixels; from 32 to 256 each way are taken"},
		"a bomb of one line":              {claiming(good, 1<<31-1, 32), "is 2147483647 by 32 pixels"},
		"a size beyond numbers":           {claiming(good, 1<<31, 1<<31), "is damaged: its size cannot be read"},
		"a JPEG bomb":                     {wide, "is 30000 by 30000 pixels"},
		"more pixels than there are":      {claiming(good, 64, 200), "is damaged or cut off"},
		"fewer pixels than there are":     {claiming(good, 64, 40), "is damaged or cut off"},
		"one pixel too wide":              {pngOf(t, painting(257, 64)), "is 257 by 64 pixels"},
		"one pixel too high":              {pngOf(t, painting(64, 257)), "is 64 by 257 pixels"},
		"one pixel too small":             {pngOf(t, painting(64, 31)), "is 64 by 31 pixels"},
		"a picture behind a megabyte":     {append(bytes.Clone(good), make([]byte, mostLogoFile)...), "is larger than 256 KiB"},
		"JPEG with a second frame header": {append(bytes.Clone(photo[:sof]), append(bytes.Clone(photo[sof:sof+19]), photo[sof:]...)...), "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := takeLogo(tc.file)
			if err == nil || !strings.Contains(err.Error(), tc.want) || l.Hash != "" || l.PNG != nil {
				t.Errorf("%v, want %q (logo %s)", err, tc.want, l)
			}
		})
	}
}

// Of what was sent only the pixels remain: no text, profile, second frame or foreign end.
func TestTakeLogo_PaintsAnew(t *testing.T) {
	const canary = "<script>alert('canary')</script>"
	good := pngOf(t, painting(64, 40))
	plain, err := takeLogo(good)
	if err != nil {
		t.Fatal(err)
	}
	if plain.Width != 64 || plain.Height != 40 || plain.Size != len(plain.PNG) {
		t.Errorf("%s", plain)
	}
	exif := append([]byte{0xff, 0xd8, 0xff, 0xe1, 0, byte(2 + len(canary))}, canary...)
	for name, file := range map[string][]byte{
		"text":             chunk(good, "tEXt", "Comment\x00"+canary),
		"an animation":     chunk(chunk(good, "fdAT", "\x00\x00\x00\x01"+canary), "acTL", "\x00\x00\x00\x02\x00\x00\x00\x00"),
		"a private chunk":  chunk(good, "evIl", canary),
		"a page behind it": append(bytes.Clone(good), canary...),
		"EXIF":             append(exif, jpegOf(t, painting(64, 40))[2:]...),
	} {
		if !bytes.Contains(file, []byte(canary)) {
			t.Fatalf("%s: the file of the test has nothing to lose", name)
		}
		l, err := takeLogo(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if bytes.Contains(l.PNG, []byte("canary")) || bytes.Contains(l.PNG, []byte("acTL")) {
			t.Errorf("%s got through", name)
		}
		if name != "EXIF" && l.Hash != plain.Hash {
			t.Errorf("%s is another picture", name)
		}
		wantClean(t, l)
	}
	// What a clear pixel would hold unseen is gone; what is seen is as it was.
	m := painting(64, 40)
	out, err := png.Decode(bytes.NewReader(plain.PNG))
	if err != nil {
		t.Fatal(err)
	}
	for y := range 40 {
		for x := range 64 {
			was, is := m.NRGBAAt(x, y), color.NRGBAModel.Convert(out.At(x, y)).(color.NRGBA)
			if was.A == 0 {
				was = color.NRGBA{}
			}
			if was != is {
				t.Fatalf("pixel %d,%d was %v and is %v", x, y, was, is)
			}
		}
	}
}

// wantClean: a PNG of three kinds of chunks, under its own hash.
func wantClean(t *testing.T, l Logo) {
	t.Helper()
	if sum := sha256.Sum256(l.PNG); hex.EncodeToString(sum[:]) != l.Hash || len(l.PNG) != l.Size {
		t.Errorf("%s is not the hash of its picture", l)
	}
	rest, ok := bytes.CutPrefix(l.PNG, []byte("\x89PNG\r\n\x1a\n"))
	for ok && len(rest) >= 12 {
		n := binary.BigEndian.Uint32(rest)
		if kind := string(rest[4:8]); kind != "IHDR" && kind != "IDAT" && kind != "IEND" || int(n) > len(rest)-12 {
			t.Fatalf("a chunk %q of %d bytes", kind, n)
		}
		rest = rest[12+n:]
	}
	if !ok || len(rest) != 0 {
		t.Errorf("no PNG, or %d bytes behind it", len(rest))
	}
}

func FuzzTakeLogo(f *testing.F) {
	good := pngOf(f, painting(33, 40))
	for _, seed := range [][]byte{good, jpegOf(f, painting(33, 40)), claiming(good, 30000, 30000), chunk(good, "tEXt", "a\x00b"), good[:60], []byte("<svg/>"),
		pngOf(f, image.NewGray16(image.Rect(0, 0, 32, 32))), pngOf(f, image.NewPaletted(image.Rect(0, 0, 32, 32), color.Palette{color.Black, color.Transparent}))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		l, err := takeLogo(file)
		if err != nil {
			if l.Hash != "" || l.PNG != nil {
				t.Error("refused and taken")
			}
			return
		}
		wantClean(t, l)
		again, err := takeLogo(l.PNG)
		if err != nil || again.Hash == "" || again.Width != l.Width || again.Height != l.Height || min(l.Width, l.Height) < leastLogo || max(l.Width, l.Height) > mostLogo {
			t.Errorf("%s is not what we take ourselves: %s %v", l, again, err)
		}
		if read, ok := parseLogo(l.String()); !ok || !read.same(l) {
			t.Errorf("%s is not read again", l)
		}
	})
}

// with is a file of one client with this logo, quoted as JSON.
func with(logo string) string {
	b, _ := json.Marshal(logo)
	return `[{"client_id":"a","client_secret":"0123456789abcdef0123456789abcdef","redirect_uris":["https://a.example/cb"],` + "\n" + `"kapi_logo":` + string(b) + `}]`
}

func TestParseFileIn_Logo(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := pngOf(t, painting(64, 64))
	for _, sub := range []string{"in", "in/logos", "in/..data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("secret.png", good)
	write("in/logos/a.png", good)
	write("in/..data/b.png", good)
	write("in/page.png", []byte("<!doctype html>"))
	for name, to := range map[string]string{"in/out.png": "../secret.png", "in/b.png": "..data/b.png"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "in/pipe.png"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"logos/a.png", "b.png"} { // the second as Kubernetes mounts files
		regs, err := ParseFileIn(strings.NewReader(with(name)), root.FS())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if l := regs[0].Logo; l.Width != 64 || len(l.PNG) == 0 || !strings.Contains(string(regs[0].Raw), `"kapi_logo":"`+l.String()+`"`) || strings.Contains(string(regs[0].Raw), name) {
			t.Errorf("%s: %s in %s", name, l, regs[0].Raw)
		}
	}
	for name, want := range map[string]string{
		"nothing.png":                "there is no such file beside this one",
		"logos":                      "is no file",
		"pipe.png":                   "is no file",
		"page.png":                   "is SVG or HTML",
		"../secret.png":              "is no path below the folder",
		"logos/../../secret.png":     "is no path below the folder",
		dir + "/secret.png":          "is no path below the folder",
		"out.png":                    "cannot be read: it leads out of the folder",
		`logos\a.png`:                "is no path below the folder",
		"https://a.example/logo.png": "is an address, and Kapi fetches nothing",
		"file:///etc/passwd":         "is an address",
		"data:image/png;base64,aaaa": "is an address",
		"sha256:abc":                 "is not what kapi client show prints",
		"sha256:" + strings.Repeat("A", 64) + " 64x64 100 bytes": "is not what kapi client show prints",
	} {
		_, err := ParseFileIn(strings.NewReader(with(name)), root.FS())
		if err == nil || !strings.HasPrefix(err.Error(), `line 2, client "a", kapi_logo: `) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := ParseFile(strings.NewReader(with("logos/a.png"))); err == nil || !strings.Contains(err.Error(), "there is no folder to read") {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := ParseFile(strings.NewReader(`[{"client_id":"a","logo_uri":"https://a.example/x.png"}]`)); err == nil || !strings.Contains(err.Error(), "logo_uri: unknown member; Kapi fetches nothing from a client") {
		t.Errorf("logo_uri: %v", err)
	}
	// A file that cannot be opened, or grows while it is read, names no more than itself.
	if _, err := readLogo(forbidding{}, "a.png"); err == nil || strings.Contains(err.Error(), "secret place") {
		t.Errorf("forbidden: %v", err)
	}
}

type forbidding struct{}

func (forbidding) Open(string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: "/secret place", Err: errors.New("no")}
}

func TestApply_Logo(t *testing.T) {
	store, r, _ := newRegistrar()
	folder := fstest.MapFS{"one.png": {Data: pngOf(t, painting(64, 64))}, "two.png": {Data: pngOf(t, painting(128, 96))}}
	apply := func(logo string) string {
		t.Helper()
		file := with(logo)
		if logo == "" {
			file = strings.Replace(file, ",\n\"kapi_logo\":\"\"", "", 1)
		}
		regs, err := ParseFileIn(strings.NewReader(file), folder)
		if err != nil {
			t.Fatal(err)
		}
		report, err := r.Apply(t.Context(), regs, noon)
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		if _, err := report.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	forget := func() { // as a database does, from which registrations come without pictures
		c := store.clients["a"]
		c.Logo.PNG = nil
		store.clients["a"] = c
	}
	if text := apply("one.png"); text != "a: created\n" {
		t.Fatal(text)
	}
	one := store.clients["a"].Logo
	forget()
	if text := apply("one.png"); text != "a: unchanged\n" {
		t.Errorf("again: %s", text)
	}
	if _, _, err := r.RotateSecret(t.Context(), "a", noon, false); err != nil || !store.clients["a"].Logo.same(one) {
		t.Errorf("a new secret took the logo: %v", err)
	}
	if text := apply("two.png"); !strings.Contains(text, `kapi_logo: "`+one.String()+`" → "sha256:`) || len(store.clients["a"].Logo.PNG) == 0 {
		t.Errorf("another: %s", text)
	}
	if e := store.events[len(store.events)-2]; e.Name != audit.ClientApplied || !strings.Contains(e.Details["members"], "kapi_logo") {
		t.Errorf("event %+v", e)
	}
	two := store.clients["a"].Logo
	if two.Width != 128 || two.Height != 96 || two.same(one) {
		t.Errorf("logo %s", two)
	}
	forget()
	var shown strings.Builder
	if err := WriteShow(&shown, store.clients["a"]); err != nil || !strings.Contains(shown.String(), `"kapi_logo": "`+two.String()+`"`) {
		t.Errorf("shown %s %v", shown.String(), err)
	}
	if text := apply(two.String()); text != "a: unchanged\n" {
		t.Errorf("what is shown, applied: %s", text)
	}
	if text := apply(one.String()); !strings.Contains(text, `line 1, client "a", kapi_logo: the client has another logo, or none; name the file of the picture`) || !store.clients["a"].Logo.same(two) {
		t.Errorf("a logo that is gone: %s", text)
	}
	// A program of before logos wrote the registration back without it.
	lost := store.clients["a"]
	lost.Logo = Logo{}
	store.clients["a"] = lost
	if text := apply("two.png"); text != "a: changed\n  kapi_logo\n" || !store.clients["a"].Logo.same(two) {
		t.Errorf("lost: %s", text)
	}
	if text := apply(""); !strings.Contains(text, `kapi_logo: no longer "`+two.String()+`"`) || store.clients["a"].Logo.Hash != "" {
		t.Errorf("removed: %s", text)
	}
	if strings.Contains(string(store.clients["a"].Raw), "kapi_logo") {
		t.Errorf("still in %s", store.clients["a"].Raw)
	}
}
