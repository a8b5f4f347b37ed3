// Package signin owns the sign-in transaction and every decision about assurance.
//
// A sign-in is a stored Transaction that one pure function moves forward: each request loads it, does one thing, stores it and
// asks Next what is owed now. Next walks an ordered table of named rules (first, account, second, renew, consent); a rule
// that is owed while nobody may be asked (prompt=none) is the OAuth error it names. Steps never call each other.
// Reached, Methods and AuthTime turn proofs into acr, amr and auth_time. Nothing else in Kapi decides these.
//
// Enter with Flow, which the pages drive, or with New and Store, with which the provider begins and ends a transaction; what
// needs no page is begun and ended at once by Flow.Straight, and stored nowhere.
//
// The package refuses a transaction of another browser, a step that is not owed, a proof of another account, and a
// second completion; and it never says whether a number is unknown, locked or simply met with a wrong password.
package signin
