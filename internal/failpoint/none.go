//go:build !failpoint

package failpoint

import "errors"

// Built says whether this build has failpoints.
const Built = false

// Here does nothing.
func Here(string) error { return nil }

// Arm refuses: this is no build with -tags failpoint.
func Arm(string) error {
	return errors.New("failpoints are for test builds; this is a release build, which refuses them")
}
