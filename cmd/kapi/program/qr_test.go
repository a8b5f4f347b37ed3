package program_test

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"regexp"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/kapi-id/kapi/internal/testkapi"
)

var qrForm = regexp.MustCompile(`class="qr" viewBox="0 0 (\d+) \d+"[^>]*>.*?<path d="([^"]+)"`)

// readQR reads the QR code of a page as a camera does, and returns what stands behind "#scan=".
func readQR(t testing.TB, b *testkapi.Browser, k *testkapi.Kapi) string {
	t.Helper()
	m := qrForm.FindStringSubmatch(b.Body)
	if m == nil {
		t.Fatalf("%s shows no QR code", b.URL)
	}
	var size int
	fmt.Sscan(m[1], &size)
	const module = 4
	img := image.NewGray(image.Rect(0, 0, size*module, size*module))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	for run := range strings.SplitSeq(strings.TrimPrefix(m[2], "M"), "M") {
		var x, y, w, back int
		if n, err := fmt.Sscanf(run, "%d %dh%dv1h-%dz", &x, &y, &w, &back); n != 4 || err != nil {
			t.Fatalf("%q: %v", run, err)
		}
		draw.Draw(img, image.Rect(x*module, y*module, (x+w)*module, (y+1)*module), image.NewUniform(color.Black), image.Point{}, draw.Src)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	// The picture is drawn, not photographed: without the hint the reader does not find one in two hundred.
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	code, ok := strings.CutPrefix(read.GetText(), k.URL+"/app#scan=")
	if !ok {
		t.Fatalf("the QR code says %q", read.GetText())
	}
	return code
}
