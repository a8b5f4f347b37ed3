// Package code owns what all second factors do that bring six digits to the ID-verified phone: making a code, sending it by the
// line that suits the number, and comparing it. It is no factor itself: enter with New, which makes one of a Way.
//
// Begin sends the first code, Again a further one, Verify compares.
//
// A challenge is what begins with a first code and ends when the code is used, after five minutes, or after five wrong answers,
// whichever comes first. A code that is sent again belongs to the same challenge: it replaces the code before it, and neither
// the five minutes nor the five tries start anew, so asking again gains nothing. A challenge that is over by wrong answers may
// be followed by a new one with tries of its own; what then bounds guessing is the count of the person, which the host
// keeps over all challenges and all ways, and the limits on sending.
//
// The package refuses a number that is not ID-verified, a number whose SIM card was changed or may have been (asked at send and at
// verify), a code of another browser, sign-in, purpose, person or way, an older code, and a sixth guess; it never stores, logs
// or repeats a code.
package code
