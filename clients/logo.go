package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"strings"
)

// Bounds of the picture that a file may name.
const (
	mostLogoFile = 256 << 10 // bytes
	leastLogo    = 32        // pixels of a side
	mostLogo     = 256
)

// Logo is the picture of a service. It is taken in at the registration, decoded and painted anew, so that of what the
// institution sent only the visible pixels remain: no metadata, no text behind the end, no file that is two kinds at once.
type Logo struct {
	Hash          string // SHA-256 of the PNG in hexadecimal; "" = the service has none
	Width, Height int    // pixels
	Size          int    // of the PNG, bytes
	PNG           []byte `json:"-"` // only on the way into the store: what is read from it has none
}

// String is what a file says to keep a logo as it is, and what apply and show print: "sha256:… 128x128 4321 bytes".
func (l Logo) String() string {
	if l.Hash == "" {
		return ""
	}
	return fmt.Sprintf("%s%s %dx%d %d bytes", keptLogo, l.Hash, l.Width, l.Height, l.Size)
}

// keptLogo begins what String makes; a path that begins like this would not be read.
const keptLogo = "sha256:"

// same says whether both are one picture, whether or not its bytes are at hand.
func (l Logo) same(other Logo) bool { return l.String() == other.String() }

// parseLogo reads what String made.
func parseLogo(s string) (l Logo, ok bool) {
	if _, err := fmt.Sscanf(s, keptLogo+"%64s %dx%d %d bytes", &l.Hash, &l.Width, &l.Height, &l.Size); err != nil {
		return Logo{}, false
	}
	sum, err := hex.DecodeString(l.Hash)
	return l, err == nil && len(sum) == sha256.Size && l.String() == s && strings.ToLower(l.Hash) == l.Hash
}

// picture reads what kapi_logo says: a picture to take in, or the one that is there.
func (c *checker) picture() {
	const path = "kapi_logo"
	name := c.doc.Logo
	var err error
	switch {
	case name == "":
		return
	case strings.HasPrefix(name, keptLogo):
		var ok bool
		if c.logo, ok = parseLogo(name); !ok {
			c.bad(path, "begins with %s but is not what kapi client show prints; name the file of the picture", keptLogo)
		}
	case strings.Contains(name, "://"), strings.HasPrefix(name, "data:"):
		c.bad(path, "is an address, and Kapi fetches nothing from a client; put the picture beside this file and write its path")
	case !fs.ValidPath(name) || name == "." || strings.Contains(name, "\\"):
		c.bad(path, "%+.100q is no path below the folder of this file, such as \"logos/portal.png\"", name)
	case c.folder == nil:
		c.bad(path, "there is no folder to read %+.100q from", name)
	default:
		var b []byte
		if b, err = readLogo(c.folder, name); err == nil {
			c.logo, err = takeLogo(b)
		}
		if err != nil {
			c.bad(path, "%+.100q: %v", name, err)
		}
	}
	c.doc.Logo = c.logo.String()
}

// readLogo reads a file that may be anything; a named pipe would never end.
func readLogo(folder fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(folder, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file beside this one")
	case err != nil:
		return nil, errors.New("cannot be read: it leads out of the folder, or its permissions forbid it")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file")
	}
	f, err := folder.Open(name)
	if err != nil {
		return nil, errors.New("cannot be read: check its permissions")
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, mostLogoFile+1))
}

// takeLogo decodes a picture of a stranger and paints it anew. What the header says is checked before anything is
// decoded: a few hundred bytes can claim 30,000 by 30,000 pixels, which are 3.6 GB.
func takeLogo(b []byte) (Logo, error) {
	if len(b) > mostLogoFile {
		return Logo{}, fmt.Errorf("is larger than %d KiB; save it smaller", mostLogoFile>>10)
	}
	measure, decode := png.DecodeConfig, png.Decode
	switch { // by what it is, not by its name, and by no decoder but these
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		measure, decode = jpeg.DecodeConfig, jpeg.Decode
	case isMarkup(b):
		return Logo{}, errors.New("is SVG or HTML, which can hold script; save it as PNG")
	default:
		return Logo{}, errors.New("is neither PNG nor JPEG; save it as PNG")
	}
	says, err := measure(bytes.NewReader(b))
	if err != nil {
		return Logo{}, errors.New("is damaged: its size cannot be read; save it again")
	}
	if w, h := says.Width, says.Height; min(w, h) < leastLogo || max(w, h) > mostLogo {
		return Logo{}, fmt.Errorf("is %d by %d pixels; from %d to %d each way are taken, 128 by 128 is best", w, h, leastLogo, mostLogo)
	}
	decoded, err := decode(bytes.NewReader(b))
	if err != nil {
		return Logo{}, errors.New("is damaged or cut off; save it again")
	}
	area := image.Rect(0, 0, says.Width, says.Height)
	if decoded.Bounds().Size() != area.Size() {
		return Logo{}, errors.New("is damaged: it is not as large as it says; save it again")
	}
	painted := image.NewRGBA(area) // premultiplied: a pixel that is clear holds nothing unseen
	draw.Draw(painted, area, decoded, decoded.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, painted); err != nil {
		return Logo{}, fmt.Errorf("cannot be painted anew: %w", err)
	}
	sum := sha256.Sum256(out.Bytes())
	return Logo{Hash: hex.EncodeToString(sum[:]), Width: area.Dx(), Height: area.Dy(), Size: out.Len(), PNG: out.Bytes()}, nil
}

// isMarkup says why what is no picture was refused; it decides nothing.
func isMarkup(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("<"))
}
