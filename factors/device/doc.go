// Package device owns the registered device: the one phone or browser of a person that holds a P-256 key and says yes or no to
// a sign-in by signing exactly what it showed. A person reaches the same waiting request by four doors: a push, the Mobile
// Approval list, a QR code, and, in the browser that holds the key itself, a silent signature.
//
// Enter with New. Begin makes the request, the endpoints (Endpoints, written down in docs/openapi/device.yaml) let the device
// answer it, Verify gives the answer to the browser that waits, once. Standing, Manage and Act are what the owner sees at
// /me/security/device; Drop and Since are for whoever lets a lost device go after a day (Options.Leaving tells of it).
//
// A request is a ticket of the browser's sign-in. Its secret says how far it is: empty (waiting), scanned, approved or ended; each
// step is one conditional write, so of many answers one counts, on any replica. The device is a credential whose handle is its
// owner, so that there is one for each account, and whose counter only rises, so that a copy of the key is noticed.
//
// The package refuses an answer whose signature is not the device's, whose bytes differ from those it keeps, whose number is not the one
// on the other screen, or that comes late, twice, or under a counter that was used; a second device; and to push more than
// three times in ten minutes for browsers that the person never used.
package device
