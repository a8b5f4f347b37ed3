package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAnchor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anchor")
	w := newWorld(t)
	w.chain.record(entry(1), entry(2))
	if _, err := w.sealer.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, two := *w.chain.row(1), *w.chain.row(2)
	a := &Anchor{Path: path}
	lines := func() string { b, _ := os.ReadFile(path); return string(b) }
	if err := a.Append(Entry{}, start); err != nil || lines() != "" {
		t.Fatalf("an empty chain: %v, %q", err, lines())
	}
	for range 3 {
		if err := a.Append(one, start); err != nil {
			t.Fatal(err)
		}
	}
	if want := fmt.Sprintf("v1 1 %x 2026-03-01T09:00:00Z\n", one.Hash); lines() != want {
		t.Fatalf("%q; want %q", lines(), want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}

	// A crash left half a line; the next start goes on behind it.
	f, _ := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	fmt.Fprintf(f, "v1 2 abcdef")
	f.Close()
	again := &Anchor{Path: path}
	if err := again.Append(two, start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), w.chain, path, w.now)
	if err != nil || r.Bad != nil || r.Anchors != 2 || len(r.Notes) != 1 {
		t.Fatalf("%+v, %v; want two anchors and a note on the torn line", r, err)
	}

	// Neither an older head nor another one at the same place is written over the trace.
	before := lines()
	for name, head := range map[string]Entry{"older": one, "empty": {}, "rewritten": func() Entry { e := two; e.Hash = one.Hash; return e }()} {
		if err := (&Anchor{Path: path}).Append(head, start); err == nil {
			t.Errorf("%s head: no error", name)
		}
	}
	if lines() != before {
		t.Error("the file changed")
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add("v1 1 " + strings.Repeat("ab", 32) + " 2026-03-01T09:00:00Z")
	f.Add("v1 2 abcdef")
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMark(line)
		if !ok {
			return
		}
		again, ok := parseMark(strings.TrimSuffix(m.String(), "\n"))
		if !ok || again.seq != m.seq || !bytes.Equal(again.hash, m.hash) {
			t.Errorf("%q reads back as %+v", line, again)
		}
	})
}
