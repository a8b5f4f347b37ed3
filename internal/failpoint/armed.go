//go:build failpoint

package failpoint

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// Built says whether this build has failpoints.
const Built = true

var armed atomic.Pointer[map[string]string]

// Arm takes POINT:ACTION, comma-separated, where ACTION is kill, err or sleep.
func Arm(spec string) error {
	m, err := read(spec)
	if err == nil {
		armed.Store(&m)
	}
	return err
}

// Here does what was armed for the point.
func Here(point string) error {
	m := armed.Load()
	if m == nil {
		return nil
	}
	switch (*m)[point] {
	case Kill:
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			panic(err)
		}
		select {} // until the kernel has seen to it
	case Err:
		return errors.New("failpoint " + point)
	case Sleep:
		time.Sleep(time.Second)
	}
	return nil
}
