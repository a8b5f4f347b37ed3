// Package qrcode owns how a QR code is drawn: as the path of an inline SVG, so that a page needs neither a picture of its own nor a
// looser policy. Enter with Paint. It refuses what does not fit, without repeating it: a code may hold a secret.
package qrcode

import (
	"errors"
	"fmt"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// Picture is a QR code as the path of an SVG of Size by Size units, with the white border that scanners need.
type Picture struct {
	Size int
	Path string
}

const border = 4 // modules (ISO/IEC 18004)

// Paint draws ASCII content; scanners do not agree on other letters.
func Paint(content string) (Picture, error) {
	code, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return Picture{}, errors.New("qrcode: the content cannot be drawn") // err may quote it
	}
	var b strings.Builder
	size := code.Bounds().Dx()
	dark := func(x, y int) bool {
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
	for y := range size {
		for x := 0; x < size; x++ {
			from := x
			for x < size && dark(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+border, y+border, x-from, x-from)
			}
		}
	}
	return Picture{Size: size + 2*border, Path: b.String()}, nil
}
