// Package webauthn owns security keys and passkeys: a key pair whose private half never leaves the person's key, phone or computer,
// and which signs for this address and no other (Web Authentication Level 3).
//
// Enter with New. People add as many keys as they like on a page of their own, give them names, and see of each whether it is
// synced between devices or only on one, and when it was last used. A sign-in shows one button.
//
// A challenge is 32 random bytes that live five minutes, belong to one sign-in, purpose and person, and are used up by the first
// answer, right or wrong. The address and the relying party id come from the issuer, never from a request. Pages in frames of
// others are refused. Whether the key asked for a PIN or a finger is demanded where the sign-in wants the highest level.
//
// The method is "hwk" only where the key's maker vouched for its hardware by a certificate that leads to one of the configured
// roots, and the key cannot be synced; else "swk". A signature counter that does not rise means that there may be a copy of the key: it is
// refused from then on, the person is told, and the record has it.
//
// An installation may list the models of keys that people may register (Allow). Then a key must be vouched for by one of the makers, and
// be of a model on the list; who says nothing of its maker, or vouches for itself, is refused. Keys that were registered before stay.
//
// The package refuses answers to another challenge, session, address, person or purpose, a key of somebody else, a key that was
// registered before, changed flags of what may be synced, and an answer that is larger than any key's. The keys live in the sealed
// part of a credential, found by their id; the handle that a key keeps of its owner is random and says nothing.
package webauthn
