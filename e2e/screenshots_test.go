package e2e

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"
)

var pictures = flag.String("screenshots", "", "folder to write the pictures of the documentation to")

// TestScreenshots takes the pictures of docs/screenshots: make screenshots.
func TestScreenshots(t *testing.T) {
	if *pictures == "" {
		t.Skip("pictures are taken by make screenshots")
	}
	c := Found(t)
	ayse := who(t, "Ayşe")
	take := func(b *Browser, name string) {
		path := filepath.Join(*pictures, name+".png")
		b.Screenshot(path)
		b.do("shrink "+name, shrink(path))
	}
	desk := Visit(t, How{Width: 800, Height: 600})
	desk.Open(c.Portal)
	take(desk, "portal")
	desk.Press("Sign in")
	take(desk, "signin")
	desk.SignsIn(ayse)
	take(desk, "code")
	desk.Confirms(c, ayse).At(c.Portal)
	take(desk, "claims")
	desk.Open(c.Issuer + "/me")
	take(desk, "account")
	desk.Open(c.Issuer + "/me/signins")
	take(desk, "signins")

	phone := Visit(t, How{Width: 360, Height: 740}).becomesDevice(c, ayse)
	desk.Open(c.Issuer + "/me/security/totp").Press("Set up a key")
	code, err := totp.GenerateCode(strings.Join(desk.prints(), ""), c.now())
	desk.do("make a code", err)
	desk.Type("code", code).Submit().See("Your key is set up.")
	desk.Open(c.Issuer + "/me/security/backup").Press("Make backup codes")
	take(desk, "backup-codes")
	desk.Open(c.Issuer + "/me/security")
	take(desk, "security")
	phone.view(c, "approvals", "Nothing waits for your approval.")
	other := Visit(t, How{Width: 800, Height: 600})
	other.Open(c.Portal + "/login").SignsIn(ayse)
	take(other, "choose")
	other.Press("Registered device")
	take(other, "device")
	phone.Waits("Number on the screen").Type("number", other.number())
	take(phone, "approve")

	small := Visit(t, How{Turkish: true, Dark: true, Width: 360, Height: 640})
	small.Open(c.Portal + "/login")
	take(small, "signin-phone-dark")
	small.Type("national_id", ayse.NationalID).Type("password", "yanlış").Submit()
	take(small, "wrong-phone-dark")
	small.SignsIn(ayse)
	take(small, "code-phone-dark")
}

// shrink repaints a picture with its 256 most used colours: flat pages lose nothing that a reader sees.
func shrink(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	full, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	used := map[color.RGBA]int{}
	area := full.Bounds()
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			used[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	var colours []color.RGBA
	for c := range used {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		if used[a] != used[b] {
			return used[b] - used[a]
		}
		return int(a.R)<<16 + int(a.G)<<8 + int(a.B) - int(b.R)<<16 - int(b.G)<<8 - int(b.B)
	})
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	small := image.NewPaletted(area, palette)
	draw.Draw(small, area, full, area.Min, draw.Src)
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, small); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
