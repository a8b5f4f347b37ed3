package totp

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

func paint(content string) (Picture, error) {
	code, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return Picture{}, errors.New("totp: no picture of the key") // err may quote it
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
