//go:build unix

package storage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

func lockFile(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage: lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("storage: lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil // the file stays: removing it would let two processes lock two files of one name
}
