// Package failpoint owns the places at which a test build dies, fails or waits on purpose, so that a test can let a replica die
// between any two writes. Enter with Here, at the place. In a build without -tags failpoint Here is an empty function that the
// compiler removes, and Arm refuses everything.
package failpoint

import (
	"fmt"
	"slices"
	"strings"
)

// Points are all places there are, in the order of a sign-in.
var Points = []string{
	"try-counted",     // before the answer is judged
	"password-right",  // compared; nothing of it is stored
	"code-stored",     // an SMS code with its message, committed
	"message-claimed", // by a worker that has not called the gateway
	"message-sent",    // the gateway has it; that is not stored
	"code-right",      // the SMS code is used up; its proof is not stored
	"approval-write",  // a yes of the registered device, written, not committed
	"approval-given",  // committed; the device has no answer
	"approval-used",   // by the browser that waited; its proof is not stored
	"renew-write",     // the new password that a sign-in owes, written, not committed
	"session-write",   // written, not committed
	"grant-write",     // the authorization code, written, not committed
	"code-consumed",   // the authorization code, not committed
	"token-write",     // written, not committed
	"token-written",   // committed; the answer is lost
	"refresh-rotate",  // written, not committed
	"refresh-rotated", // committed; the answer is lost
	"logout-write",    // the session and all that hangs on it ended, written, not committed
	"logout-written",  // committed; the answer is lost
	"recovery-proven", // the code of a forgotten password is used up; that is not stored
	"recovery-write",  // the new password and all that goes with it, written, not committed
	"recovery-done",   // committed; the answer is lost
	"key-write",       // a change of signing keys, written, not committed
	"key-written",     // committed; this process has not taken it over
}

// What may happen at a point.
const (
	Kill  = "kill"  // the process dies as by kill -9
	Err   = "err"   // Here returns an error
	Sleep = "sleep" // Here waits for a second
)

// read takes POINT:ACTION, comma-separated.
func read(spec string) (map[string]string, error) {
	out := map[string]string{}
	for part := range strings.SplitSeq(spec, ",") {
		point, action, _ := strings.Cut(part, ":")
		switch {
		case !slices.Contains(Points, point):
			return nil, fmt.Errorf("there is no point %q; there are %s", point, strings.Join(Points, ", "))
		case action != Kill && action != Err && action != Sleep:
			return nil, fmt.Errorf("%q at %s: kill, err or sleep", action, point)
		case out[point] != "":
			return nil, fmt.Errorf("%s stands twice", point)
		}
		out[point] = action
	}
	return out, nil
}
