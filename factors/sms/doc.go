// Package sms owns the second factor that every citizen with a proven phone has: six digits sent as a short message to the
// ID-verified number.
//
// Enter with New. Begin sends the first code, Again a further one, Verify compares.
//
// A challenge is what begins with a first code and ends when the code is used, after five minutes, or after five wrong answers,
// whichever comes first. A code that is sent again belongs to the same challenge: it replaces the code before it, and neither
// the five minutes nor the five tries start anew, so asking again gains nothing. A challenge that is over by wrong answers may
// be followed by a new one with tries of its own; what then bounds guessing is the count of the person, which the host
// keeps over all challenges, and the limits on sending.
//
// The package refuses a number that is not ID-verified, a code of another browser, sign-in, purpose or person, an older
// code, and a sixth guess; it never stores, logs or repeats a code.
package sms
