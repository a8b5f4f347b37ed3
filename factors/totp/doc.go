// Package totp owns the key app, "e-Government Key": six digits that an app on the person's phone computes from a shared key
// and the time (RFC 6238 with SHA-1, 30 seconds, one step of tolerance on either side).
//
// Enter with New. People set a key up on a page of their own: a picture to scan, the same key to type, and a first code that
// shows that the app has it; until then nothing is stored but a pending ticket. There is one key for each account; a new
// one takes the place of the old.
//
// A step counts once, for ever and on every replica: the step that was used is moved forward by one conditional write, so
// that of twenty people with the same code one gets in, and nobody gets in with a code that somebody looked at. A challenge takes
// five tries in five minutes; over all challenges the host counts.
//
// The package refuses a code of a step that was used or lies before one that was, a sixth try, a code that fits another person's
// key, and a key that was never confirmed; it never stores or repeats a code, and shows a key only while it is being set up.
package totp
