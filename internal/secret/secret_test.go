package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// memory is a Store in memory. hide makes the first n reads come back empty, as if another process were just faster.
type memory struct {
	mu   sync.Mutex
	keys []Wrapped
	hide int
}

func (m *memory) WrappedKeys(context.Context) ([]Wrapped, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hide > 0 {
		m.hide--
		return nil, nil
	}
	return append([]Wrapped(nil), m.keys...), nil
}

func (m *memory) AddWrappedKey(_ context.Context, w Wrapped) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.ID == w.ID && k.Purpose == w.Purpose {
			return fault.ErrConflict
		}
	}
	m.keys = append(m.keys, w)
	return nil
}

var now = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func root(t *testing.T) Root {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root")
	if err := NewRoot(path); err != nil {
		t.Fatal(err)
	}
	r, err := ReadRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRootFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	if _, err := ReadRoot(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("absent: %v", err)
	}
	if err := NewRoot(path); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text, _ := os.ReadFile(path)
	if len(text) != 44 || text[43] != '\n' {
		t.Errorf("not one line of 43 characters: %d bytes", len(text))
	}
	if err := NewRoot(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(text, after) {
		t.Error("the key changed")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".kapi-root-*")); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
	r, err := ReadRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %s %#v %+v", r, r, r, &r); strings.Contains(s, fmt.Sprint(r[0])+" ") || strings.Contains(s, "0x") {
		t.Errorf("printing shows the key: %s", s)
	}
	for name, bad := range map[string]string{
		"short": string(text[:40]), "long": string(text) + "AAAA", "not base64": strings.Repeat("!", 43), "empty": "", "huge": strings.Repeat("A", 5000),
	} {
		p := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(p, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRoot(p); err == nil {
			t.Errorf("%s was taken", name)
		} else if bad != "" && strings.Contains(err.Error(), bad[:min(len(bad), 20)]) {
			t.Errorf("%s: the error shows the file's text", name)
		}
	}
	for _, mode := range []fs.FileMode{0o644, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRoot(path); err == nil {
			t.Errorf("mode %04o was taken", mode)
		}
	}
}

func TestOneRootOfManyMakers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	var wg sync.WaitGroup
	var made sync.Map
	for i := range 16 {
		wg.Go(func() {
			if NewRoot(path) == nil {
				made.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Fatalf("%d makers succeeded", n)
	}
	if _, err := ReadRoot(path); err != nil {
		t.Fatal(err)
	}
}

func TestOpenKeepsKeys(t *testing.T) {
	ctx, store, rt := context.Background(), &memory{}, root(t)
	a, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	sealed := a.Seal("t.c:1", []byte("plain"))
	b, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unseal("t.c:1", sealed); err != nil || string(got) != "plain" {
		t.Fatalf("%q %v", got, err)
	}
	if len(store.keys) != len(Purposes) {
		t.Errorf("%d keys stored", len(store.keys))
	}
	for _, p := range Purposes {
		if !b.CheckMAC(p, a.MAC(p, "x"), "x") {
			t.Errorf("%s changed", p)
		}
	}
	if _, err := Open(ctx, root(t), store, now); err == nil {
		t.Error("another root was taken")
	}
	swapped := &memory{keys: append([]Wrapped(nil), store.keys...)}
	swapped.keys[0].Key, swapped.keys[1].Key = swapped.keys[1].Key, swapped.keys[0].Key
	if _, err := Open(ctx, rt, swapped, now); err == nil {
		t.Error("a key opened for another purpose")
	}
}

func TestOpenLosesTheRace(t *testing.T) {
	ctx, store, rt := context.Background(), &memory{}, root(t)
	a, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	store.hide = 1
	b, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.MAC(Subject, "x"), b.MAC(Subject, "x")) {
		t.Error("two processes hold different subject keys")
	}
}

func TestRotationKeepsOldAndRefusesTwoSubjects(t *testing.T) {
	ctx, store, rt := context.Background(), &memory{}, root(t)
	a, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	kek, _ := rt.wrapper()
	add := func(p Purpose) {
		store.keys = append(store.keys, Wrapped{ID: 2, Purpose: p, Key: kek.Seal(nil, nil, random(), wrapPlace(p, 2)), CreatedAt: now})
	}
	add(Seal)
	add(Tokens)
	b, err := Open(ctx, rt, store, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unseal("p", a.Seal("p", []byte("old"))); err != nil || string(got) != "old" {
		t.Errorf("old seal: %q %v", got, err)
	}
	if _, err := a.Unseal("p", b.Seal("p", []byte("new"))); !errors.Is(err, ErrSealed) {
		t.Errorf("new seals do not use the new key: %v", err)
	}
	if !b.CheckMAC(Tokens, a.MAC(Tokens, "x"), "x") || !b.CheckMAC(Tokens, b.MAC(Tokens, "x"), "x") {
		t.Error("a MAC of one version was refused")
	}
	if bytes.Equal(a.MAC(Tokens, "x"), b.MAC(Tokens, "x")) {
		t.Error("new MACs do not use the new key")
	}
	add(Subject)
	if _, err := Open(ctx, rt, store, now); err == nil {
		t.Error("two subject keys were taken")
	}
}

func TestSealed(t *testing.T) {
	r := Ephemeral()
	plain := []byte("Ayşe Yılmaz")
	sealed := r.Seal("people.data:1", plain)
	if bytes.Contains(sealed, plain) {
		t.Fatal("plain inside")
	}
	if len(sealed) != 4+Overhead+len(plain) {
		t.Errorf("length %d", len(sealed))
	}
	if bytes.Equal(sealed, r.Seal("people.data:1", plain)) {
		t.Error("the same twice")
	}
	if got, err := r.Unseal("people.data:1", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := r.Unseal("people.data:2", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("another row: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Unseal("people.data:1", bad); !errors.Is(err, ErrSealed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := r.Unseal("people.data:1", sealed[:n]); !errors.Is(err, ErrSealed) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	if _, err := Ephemeral().Unseal("people.data:1", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("another ring: %v", err)
	}
}

func TestMAC(t *testing.T) {
	r := Ephemeral()
	if bytes.Equal(r.MAC(Tokens, "ab", "c"), r.MAC(Tokens, "a", "bc")) || bytes.Equal(r.MAC(Tokens, "a"), r.MAC(Tokens, "a", "")) {
		t.Error("parts run together")
	}
	if bytes.Equal(r.MAC(Tokens, "a"), r.MAC(Cookie, "a")) {
		t.Error("purposes share a key")
	}
	m := r.MAC(Pepper, "a", "b")
	if !r.CheckMAC(Pepper, m, "a", "b") || r.CheckMAC(Pepper, m, "a", "c") || r.CheckMAC(Pepper, m[:31], "a", "b") || r.CheckMAC(Pepper, nil, "a", "b") || r.CheckMAC(Purpose("none"), m, "a", "b") {
		t.Error("CheckMAC")
	}
	if len(r.Index("a.b", "v")) != 32 || bytes.Equal(r.Index("a.b", "v"), r.Index("a.c", "v")) || !bytes.Equal(r.Index("a.b", "v"), r.Index("a.b", "v")) {
		t.Error("Index")
	}
	defer func() {
		if recover() == nil {
			t.Error("a MAC without a key")
		}
	}()
	r.MAC(Purpose("none"), "a")
}

func TestToken(t *testing.T) {
	a, b := Token(), Token()
	if len(a) != 43 || a == b {
		t.Errorf("%q %q", a, b)
	}
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; fmt.Sprintf("%x", Hash("abc")) != want {
		t.Error("not SHA-256")
	}
}

func FuzzUnseal(f *testing.F) {
	r := Ephemeral()
	f.Add(r.Seal("p", []byte("x")), "p")
	f.Add([]byte{0, 0, 0, 1}, "p")
	f.Fuzz(func(t *testing.T, sealed []byte, place string) {
		if _, err := r.Unseal(place+"#", sealed); !errors.Is(err, ErrSealed) {
			t.Fatalf("opened or failed otherwise: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	r, plain := Ephemeral(), make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		r.Seal("people.data:0190", plain)
	}
}

func BenchmarkMAC(b *testing.B) {
	r := Ephemeral()
	b.ReportAllocs()
	for b.Loop() {
		r.MAC(Tokens, "family", "1")
	}
}
