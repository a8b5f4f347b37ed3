package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// encodingVersion stands in front of every canonical entry. A change of canonical needs a new one beside the old.
const encodingVersion = "kapi.audit.1"

// genesis is what the first entry continues.
var genesis = make([]byte, sha256.Size)

// canonical is the entry as hashed: the version of the encoding, then each field with its length in front, so that no
// two different entries are the same bytes. Seq is inside, so that an entry cannot be put elsewhere.
func (e Entry) canonical() []byte {
	b := make([]byte, 0, 256+len(e.Sealed))
	field := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	field(encodingVersion)
	number(e.Seq)
	field(e.ID)
	number(e.At.UnixMicro())
	number(int64(e.Version))
	for _, s := range [...]string{e.Name, e.Outcome, e.Actor, e.Subject, e.Client, e.Session, e.Request} {
		field(s)
	}
	field(string(e.Sealed))
	return b
}

// sum is SHA-256 over Prev and the canonical entry.
func (e Entry) sum() []byte {
	h := sha256.New()
	h.Write(e.Prev)
	h.Write(e.canonical())
	return h.Sum(nil)
}

// after places e behind head (the zero Entry for the first) and hashes it.
func (e Entry) after(head Entry) Entry {
	e.Seq, e.Prev = head.Seq+1, head.Hash
	if head.Seq == 0 {
		e.Prev = genesis
	}
	e.Hash = e.sum()
	return e
}

// Sealer chains what was recorded. Whoever holds the lease runs it; two that both believe to hold it do no harm, since
// the store refuses to append to a head that moved.
type Sealer struct {
	Chain  Chain
	Anchor *Anchor // nil = none
	Now    func() time.Time
	Log    *slog.Logger

	known   Entry     // the furthest head this sealer has seen
	anchors time.Time // when the next anchor line is due
}

// Bounds of one transaction of the sealer, and how often the head is written down outside the database.
const (
	batch       = 500
	sealEvery   = time.Second
	anchorEvery = time.Minute
)

// Run seals every second and anchors every minute until ctx ends. Failures are logged and tried again: nothing is lost,
// entries only stay unsealed, and verify reports how many.
func (s *Sealer) Run(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := s.Tick(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("audit chain", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Tick seals what waits and, when a minute has passed since the last time, anchors the head.
func (s *Sealer) Tick(ctx context.Context) error {
	if _, err := s.Seal(ctx); err != nil {
		return err
	}
	now := s.Now()
	if s.Anchor == nil || now.Before(s.anchors) {
		return nil
	}
	head, err := s.head(ctx)
	if err != nil {
		return err
	}
	if err := s.Anchor.Append(head, now); err != nil {
		return err
	}
	s.anchors = now.Add(anchorEvery)
	return nil
}

// Seal chains all that waits and returns how many entries it sealed. That another sealer was faster is no error: it
// sealed them.
func (s *Sealer) Seal(ctx context.Context) (int, error) {
	for sealed := 0; ; {
		waiting, err := s.Chain.Unsealed(ctx, batch)
		if err != nil {
			return sealed, fmt.Errorf("audit: read unsealed: %w", err)
		}
		if len(waiting) == 0 {
			return sealed, nil
		}
		head, err := s.head(ctx)
		if err != nil {
			return sealed, err
		}
		for i := range waiting {
			waiting[i] = waiting[i].after(head)
			head = waiting[i]
		}
		switch err := s.Chain.AppendSealed(ctx, waiting); {
		case errors.Is(err, fault.ErrConflict):
			return sealed, nil
		case err != nil:
			return sealed, fmt.Errorf("audit: append: %w", err)
		}
		s.known = head
		sealed += len(waiting)
		if len(waiting) < batch {
			return sealed, nil
		}
	}
}

// head reads the head and refuses one that went back: a tail that is cut between two anchor lines would otherwise be
// grown over unseen. What was known is anchored as evidence, so that verify finds it too.
func (s *Sealer) head(ctx context.Context) (Entry, error) {
	head, err := s.Chain.Head(ctx)
	if err != nil {
		return Entry{}, fmt.Errorf("audit: read head: %w", err)
	}
	if head.Seq > s.known.Seq || head.Seq == s.known.Seq && bytes.Equal(head.Hash, s.known.Hash) {
		s.known = head
		return head, nil
	}
	err = fmt.Errorf("audit: the chain ended at entry %d and now ends at entry %d, or with another one there: it was cut or rewritten; run kapi audit verify", s.known.Seq, head.Seq)
	if s.Anchor != nil {
		err = errors.Join(err, s.Anchor.Append(s.known, s.Now()))
	}
	return Entry{}, err
}
