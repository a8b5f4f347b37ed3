// Package backup owns the last resort: ten codes that a person has printed or written down, for the day on which the phone is
// gone. Each completes a second step once.
//
// Enter with New. People make a set on a page of their own, once two-factor authentication is on; it is shown at that moment and
// never again. A new set takes the place of the old one in the same commit, and switching two-factor authentication off ends it.
//
// A code is 80 random bits in sixteen letters and digits that nobody mixes up. Stored is a salted password hash of each (NIST SP
// 800-63B-4 asks for one below 112 bits), and one byte of another hash beside it, which tells which of the ten to compare with:
// an answer costs one password hash, right or wrong. Who steals the database and every key has 72 bits of
// each code left to guess, at the price of a password hash a guess.
//
// Which codes are used stands in the one row of the set, which moves by its version: of fifty people with the same code one gets
// in, and two codes used at once are both used.
//
// The package refuses a used code, a code of an older set, any code while two-factor authentication is off or was off since, and
// to show a set twice.
package backup
