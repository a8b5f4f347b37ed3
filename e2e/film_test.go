package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"github.com/chromedp/chromedp"
)

// film is what the camera of the browser sees: a file of one picture over and over, read anew whenever the camera is opened. There is one
// camera, so a story holds the lock while it films.
var film = &camera{}

type camera struct {
	sync.Mutex
	path string
}

const filmWidth, filmHeight = 640, 480

// show lays a picture of dark squares before the camera, in a YUV4MPEG2 file; nil = an empty wall.
func (c *camera) show(picture [][]bool) error {
	if c.path == "" {
		dir, err := os.MkdirTemp("", "kapi-film-")
		if err != nil {
			return err
		}
		c.path = filepath.Join(dir, "film.y4m")
	}
	luma := bytes.Repeat([]byte{235}, filmWidth*filmHeight)
	if n := len(picture); n > 0 {
		size := filmHeight / n
		for y := range n * size {
			for x := range n * size {
				if picture[y/size][x/size] {
					luma[y*filmWidth+x+(filmWidth-n*size)/2] = 16
				}
			}
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420mpeg2\n", filmWidth, filmHeight)
	for range 2 {
		b.WriteString("FRAME\n")
		b.Write(luma)
		b.Write(bytes.Repeat([]byte{128}, filmWidth*filmHeight/2))
	}
	if err := os.WriteFile(c.path+".new", b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(c.path+".new", c.path)
}

func (c *camera) end() {
	if c.path != "" {
		os.RemoveAll(filepath.Dir(c.path))
	}
}

var run = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-\d+z`)

// QR reads the picture of the page's QR code, as a camera before the screen would.
func (b *Browser) QR() (picture [][]bool) {
	b.t.Helper()
	type drawing struct {
		Box  string `json:"box"`
		Path string `json:"path"`
	}
	d, err := step(b, chromedp.Evaluate[drawing](`(() => { const s = document.querySelector("svg.qr"); return {box: s.getAttribute("viewBox"), path: s.querySelector("path").getAttribute("d")} })()`))
	b.do("look at the QR code", err)
	var size int
	if _, err := fmt.Sscanf(d.Box, "0 0 %d", &size); err != nil || size < 21 || size > 177 {
		b.t.Fatalf("the QR code is %q big", d.Box)
	}
	picture = make([][]bool, size)
	for y := range picture {
		picture[y] = make([]bool, size)
	}
	for _, m := range run.FindAllStringSubmatch(d.Path, -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		n, _ := strconv.Atoi(m[3])
		for i := range n {
			picture[y][x+i] = true
		}
	}
	return picture
}
