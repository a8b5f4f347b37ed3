//go:build !unix

package storage

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// lockFile makes the file anew and fails when it is there. Without flock a crash leaves it behind, to be removed by hand.
func lockFile(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, errLocked
	}
	if err != nil {
		return nil, fmt.Errorf("storage: lock file: %w", err)
	}
	var once sync.Once
	return func() { once.Do(func() { f.Close(); os.Remove(path) }) }, nil
}
