package qrcode

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	reader "github.com/makiuchi-d/gozxing/qrcode"
)

// A foreign reader sees in the drawing what was painted.
func TestAReaderReadsThePicture(t *testing.T) {
	for _, content := range []string{
		"otpauth://totp/Kapi:Ay%C5%9Fe%20Y%C4%B1lmaz?algorithm=SHA1&digits=6&issuer=Kapi&period=30&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
		"otpauth://totp/Kapi:" + strings.Repeat("%C5%9E", 60) + "?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
	} {
		p, err := Paint(content)
		if err != nil {
			t.Fatal(err)
		}
		const module = 4
		img := image.NewGray(image.Rect(0, 0, p.Size*module, p.Size*module))
		draw.Draw(img, img.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
		for run := range strings.SplitSeq(strings.TrimPrefix(p.Path, "M"), "M") {
			var x, y, w, back int
			if n, err := fmt.Sscanf(run, "%d %dh%dv1h-%dz", &x, &y, &w, &back); n != 4 || err != nil || w != back {
				t.Fatalf("%q: %v", run, err)
			}
			draw.Draw(img, image.Rect(x*module, y*module, (x+w)*module, (y+1)*module), image.NewUniform(color.Black), image.Point{}, draw.Src)
		}
		bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
		if err != nil {
			t.Fatal(err)
		}
		read, err := reader.NewQRCodeReader().Decode(bitmap, nil)
		if err != nil || read.GetText() != content {
			t.Errorf("read %v, %v", read, err)
		}
	}
	if _, err := Paint(strings.Repeat("x", 5000)); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("too much for a picture: %v", err)
	}
}
