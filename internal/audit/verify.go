package audit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Result of a walk along the chain.
type Result struct {
	Entries  int64     // sealed ones that were read and found right
	Head     Entry     // the last of them
	Unsealed int64     // recorded and not yet chained; a few are normal while the server runs
	Oldest   time.Time // when the oldest unsealed one was recorded; zero for none
	Anchors  int       // lines of the anchor file that were compared
	Notes    []string  // what weakens the answer without being wrong, e.g. no anchor file
	Bad      *Bad      // the first thing that is wrong; nil = the record is whole
}

// Bad is where the chain stops being the one that was written.
type Bad struct {
	Seq    int64  // place in the chain
	ID     string // of the entry that stands there; "" if none does
	Name   string
	At     time.Time
	Line   int // of the anchor file, when the anchor shows it; else 0
	Reason string
}

func (b *Bad) Error() string {
	s := fmt.Sprintf("audit entry %d", b.Seq)
	if b.ID != "" {
		s += fmt.Sprintf(" (%s, %s, %s)", b.ID, b.Name, b.At.UTC().Format(time.RFC3339))
	}
	s += ": " + b.Reason
	if b.Line > 0 {
		s += fmt.Sprintf(" (line %d of the anchor file)", b.Line)
	}
	return s
}

// young is how old a record may be that has no anchor yet. The sealer writes the first line with the first entries, so this
// is patience with a start, a full disk or a folder being mounted.
const young = 5 * time.Minute

// Verify walks the whole chain in batches, recomputes every hash, compares with every line of the anchor file (""
// = none is wanted) and returns the first bad entry in Result.Bad. An error means that the record could not be read, not that it is
// wrong. What it finds: an entry edited, deleted, moved, doubled or slipped in, by the hashes; a tail that was cut, an older
// copy that was restored, a chain that was recomputed, by the anchor. That the anchor itself is gone is wrong too, unless the
// record began only minutes before now: whoever cuts the chain would else remove the file with it.
func Verify(ctx context.Context, chain Chain, anchorPath string, now time.Time) (Result, error) {
	var r Result
	w := walk{path: anchorPath, now: now}
	if anchorPath != "" {
		if err := w.load(&r); err != nil {
			return r, err
		}
	} else {
		r.Notes = append(r.Notes, "not compared with an anchor: a cut tail or a restored older copy would not show")
	}
	for r.Bad == nil {
		entries, err := chain.Entries(ctx, w.asked, batch)
		if err != nil {
			return r, fmt.Errorf("audit: read entries after %d: %w", w.asked, err)
		}
		if len(entries) > 0 && r.Entries > 0 && entries[0].Seq == r.Head.Seq && entries[0].ID == r.Head.ID {
			entries = entries[1:] // read again on purpose, so that a second one at its place shows
		}
		if len(entries) == 0 {
			r.Bad = w.end(r.Head)
			break
		}
		for _, e := range entries {
			if r.Bad = w.next(r.Head, e); r.Bad != nil {
				break
			}
			if r.Entries == 0 {
				w.began = e.At
			}
			r.Head = e
			r.Entries++
		}
		w.asked = r.Head.Seq - 1
	}
	r.Anchors = w.compared
	var err error
	if r.Unsealed, err = chain.UnsealedCount(ctx); err != nil {
		return r, fmt.Errorf("audit: count unsealed: %w", err)
	}
	if r.Unsealed > 0 {
		first, err := chain.Unsealed(ctx, 1)
		if err != nil {
			return r, fmt.Errorf("audit: read unsealed: %w", err)
		}
		if len(first) > 0 {
			r.Oldest = first[0].At
		}
	}
	return r, nil
}

// walk is what Verify remembers: the anchors not yet passed, by entry.
type walk struct {
	path     string // of the anchor file; "" = none is wanted
	now      time.Time
	began    time.Time // the first entry
	bare     bool      // nothing is anchored, though it should be
	asked    int64
	marks    []mark
	compared int
	matched  int64 // the last entry that an anchor vouched for
}

func (w *walk) load(r *Result) error {
	marks, odd, found, err := readAnchors(w.path)
	if err != nil {
		return err
	}
	if w.bare = !found || len(marks) == 0; w.bare {
		r.Notes = append(r.Notes, fmt.Sprintf("no head is anchored in %s yet: a cut tail or a restored older copy would not show", w.path))
	}
	if len(odd) > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d lines of the anchor file cannot be read, the first is line %d", len(odd), odd[0]))
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.seq, b.seq) })
	w.marks = marks
	return nil
}

// next says what is wrong with e standing behind head.
func (w *walk) next(head, e Entry) *Bad {
	bad := func(format string, args ...any) *Bad {
		return &Bad{Seq: e.Seq, ID: e.ID, Name: e.Name, At: e.At, Reason: fmt.Sprintf(format, args...)}
	}
	switch want := head.Seq + 1; {
	case e.Seq == head.Seq && head.Seq > 0:
		return bad("two entries claim this place, the other is %s: the chain forks here", head.ID)
	case e.Seq < want:
		return bad("out of order: it stands behind entry %d", head.Seq)
	case e.Seq > want:
		return &Bad{Seq: want, Reason: fmt.Sprintf("missing: after entry %d comes entry %d", head.Seq, e.Seq)}
	}
	prev := head.Hash
	if head.Seq == 0 {
		prev = genesis
	}
	if !bytes.Equal(e.Hash, e.sum()) {
		return bad("changed after it was sealed: its hash does not fit its content")
	}
	if !bytes.Equal(e.Prev, prev) {
		return bad("does not continue entry %d: an entry was moved, replaced or slipped in", head.Seq)
	}
	for len(w.marks) > 0 && w.marks[0].seq == e.Seq {
		m := w.marks[0]
		w.marks = w.marks[1:]
		w.compared++
		if !bytes.Equal(m.hash, e.Hash) {
			b := bad("not the entry that was anchored at %s: the chain was rewritten somewhere after entry %d", m.at.UTC().Format(time.RFC3339), w.matched)
			b.Line = m.line
			return b
		}
		w.matched = e.Seq
	}
	return nil
}

// end says whether the anchor knows of more than the chain shows.
func (w *walk) end(head Entry) *Bad {
	if w.bare && head.Seq > 0 && w.now.Sub(w.began) > young {
		return &Bad{Seq: head.Seq, Reason: fmt.Sprintf("not anchored: the record began at %s, but %s holds no head: it was removed or emptied, or no server could write it", w.began.UTC().Format(time.RFC3339), w.path)}
	}
	if len(w.marks) == 0 {
		return nil
	}
	last := w.marks[len(w.marks)-1]
	return &Bad{
		Seq: head.Seq + 1, Line: last.line,
		Reason: fmt.Sprintf("missing: the chain ends at entry %d, but entry %d was anchored at %s: the tail was cut or an older copy was restored", head.Seq, last.seq, last.at.UTC().Format(time.RFC3339)),
	}
}
