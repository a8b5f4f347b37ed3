// Package e2e owns the journeys in a real browser: the kapi binary, a relying party, a phone and Chromium, one story per
// file. It holds tests only.
//
// Enter with a country (Demo, or Replicas on one Postgres) and a visit to it. Every page that a visit meets is inspected by
// itself: no message in the console, no violation of the content security policy, no finding of axe-core in the light and in
// the dark, no sideways scrolling at 320 pixels. A journey therefore refuses a page that a person could not use, even if
// the story goes well. E2E_EVIDENCE names a folder that gets a picture of each page on which a journey failed. Without Chromium the journeys are skipped loudly, and fail when CI is set.
//
// What only Firefox can show is told in Firefox (VisitInFirefox), driven by its own protocol: pushes from a push service to the notification
// on the screen, the key of the phone app in its storage, and the pages of a first sign-in. There the console counts, axe does not run.
package e2e
