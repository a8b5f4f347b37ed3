package secret

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Root is the key that wraps all others. It lives in a file outside the database, so that a copy of one is worth nothing
// without the other.
type Root [32]byte

// String hides the key from every %v and %s.
func (Root) String() string { return "secret.Root" }

// GoString hides the key from %#v.
func (Root) GoString() string { return "secret.Root" }

// NewRoot writes a new root key to path: one line of base64url, mode 0600. It refuses to overwrite (fs.ErrExist). A
// crash midway leaves no half a key: the file appears whole, under a name that nobody else took in between.
func NewRoot(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("secret: %s: %w; a root key is never overwritten", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".kapi-root-*") // 0600 by itself
	if err != nil {
		return fmt.Errorf("secret: make root key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.RawURLEncoding.EncodeToString(random()) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("secret: write root key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike rename, fails when path exists
		return fmt.Errorf("secret: place root key: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // not every file system can; the file itself is safe
		_ = dir.Close()
	}
	return nil
}

// ReadRoot reads what NewRoot wrote. It refuses a file that others than its owner and group can read, or that the
// group can write; fs.ErrNotExist when there is none.
func ReadRoot(path string) (Root, error) {
	var r Root
	info, err := os.Stat(path)
	if err != nil {
		return r, fmt.Errorf("secret: root key: %w", err)
	}
	if info.Mode().Perm()&0o027 != 0 {
		return r, fmt.Errorf("secret: %s has mode %04o and holds the root key; make it 0600", path, info.Mode().Perm())
	}
	if info.Size() > 1024 {
		return r, fmt.Errorf("secret: %s is no root key: one line of 43 characters was expected", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("secret: root key: %w", err)
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(string(text), "\r\n"))
	if err != nil || len(key) != len(r) {
		return r, fmt.Errorf("secret: %s is no root key: one line of 43 characters was expected", path) // never the text
	}
	return Root(key), nil
}

// wrapper is the cipher that wraps keys under the root.
func (r Root) wrapper() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, r[:], nil, "kapi wrap v1", 32)
	if err != nil {
		return nil, err
	}
	box, err := NewBox(key)
	if err != nil {
		return nil, err
	}
	return box.aead, nil
}

func wrapPlace(p Purpose, id uint32) []byte {
	return []byte("wrapped_keys.key:" + string(p) + "/" + strconv.FormatUint(uint64(id), 10))
}
