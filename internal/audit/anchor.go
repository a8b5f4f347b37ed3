package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Anchor is a file outside the database to which the chain's head is appended, one line each: "v1 SEQ HASH TIME". It is
// what a cut tail or a restored older copy shows against, since both leave a chain that is whole in itself; ship it away
// from this machine (it holds no personal data). The zero Anchor with a Path is ready.
type Anchor struct {
	Path string

	last mark // of what this process wrote or found
	read bool
}

// mark is one line of the file.
type mark struct {
	seq  int64
	hash []byte
	at   time.Time
	line int
}

const lineVersion = "v1"

func (m mark) String() string {
	return fmt.Sprintf("%s %d %x %s\n", lineVersion, m.seq, m.hash, m.at.UTC().Format(time.RFC3339))
}

// parseMark reads a line without its end.
func parseMark(line string) (mark, bool) {
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != lineVersion {
		return mark{}, false
	}
	seq, err := strconv.ParseInt(f[1], 10, 64)
	hash, err2 := hex.DecodeString(f[2])
	at, err3 := time.Parse(time.RFC3339, f[3])
	if err != nil || err2 != nil || err3 != nil || seq < 1 || len(hash) != 32 || at.Year() < 2000 {
		return mark{}, false
	}
	return mark{seq: seq, hash: hash, at: at}, true
}

// Append writes head down and returns when it is on the disk. An empty chain is not written, nor is a head that is
// written already. It refuses a head that is older than the last line, or another of the same place: the database was cut
// or restored, and writing on would bury the trace.
func (a *Anchor) Append(head Entry, now time.Time) (err error) {
	f, err := os.OpenFile(a.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("audit anchor: %w", err)
	}
	defer func() {
		if e := f.Close(); e != nil && err == nil {
			err = fmt.Errorf("audit anchor: %w", e)
		}
	}()
	if !a.read {
		if a.last, err = lastMark(f); err != nil {
			return fmt.Errorf("audit anchor: %w", err)
		}
		a.read = true
	}
	switch {
	case head.Seq < a.last.seq:
		return fmt.Errorf("audit anchor: the chain ends at entry %d, but entry %d was anchored in %s: entries were cut or an older copy was restored; run kapi audit verify, keep the file as evidence and set KAPI_AUDIT_ANCHOR to a new one", head.Seq, a.last.seq, a.Path)
	case head.Seq == 0:
		return nil
	case head.Seq == a.last.seq && !bytes.Equal(head.Hash, a.last.hash):
		return fmt.Errorf("audit anchor: entry %d is not the one that was anchored in %s: the chain was rewritten; run kapi audit verify", head.Seq, a.Path)
	case head.Seq == a.last.seq:
		return nil
	}
	m := mark{seq: head.Seq, hash: head.Hash, at: now}
	text := m.String()
	torn, err := endsTorn(f)
	if err != nil {
		return fmt.Errorf("audit anchor: %w", err)
	}
	if torn { // a crash or a full disk left half a line; it stays, on a line of its own
		text = "\n" + text
	}
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("audit anchor: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("audit anchor: %w", err)
	}
	if a.last.seq == 0 { // a new file is on the disk only when its folder is
		if dir, err := os.Open(filepath.Dir(a.Path)); err == nil {
			_ = dir.Sync() // not every file system can
			_ = dir.Close()
		}
	}
	a.last = m
	return nil
}

// tail is how much of the file is read to find the last line: a minute is a line, and years of them are many.
const tail = 64 << 10

// lastMark returns the furthest head among the last lines.
func lastMark(f *os.File) (last mark, err error) {
	info, err := f.Stat()
	if err != nil {
		return mark{}, err
	}
	from := max(0, info.Size()-tail)
	err = eachMark(io.NewSectionReader(f, from, info.Size()-from), func(m mark) {
		if m.seq > last.seq {
			last = m
		}
	}, nil)
	return last, err
}

func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return false, err
	}
	return last[0] != '\n', nil
}

// eachMark calls fn for every line of r, and odd (if not nil) with the number of every line that is none.
func eachMark(r io.Reader, fn func(mark), odd func(line int)) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		m, ok := parseMark(text)
		if !ok {
			if odd != nil && text != "" {
				odd(n)
			}
			continue
		}
		m.line = n
		fn(m)
	}
	return lines.Err()
}

// readAnchors returns every anchored head in the order of the file; found is false when there is no file.
func readAnchors(path string) (marks []mark, odd []int, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, fmt.Errorf("audit anchor: %w", err)
	}
	defer f.Close()
	err = eachMark(f, func(m mark) { marks = append(marks, m) }, func(n int) { odd = append(odd, n) })
	if err != nil {
		return nil, nil, true, fmt.Errorf("audit anchor %s: %w", path, err)
	}
	return marks, odd, true, nil
}
