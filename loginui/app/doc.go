// Package app owns the phone app: an installable web app at /app that is a person's registered device and key app. Enter with New and
// Handler.Mount; Source and Words are for page.New.
//
//	GET /app                       the shell, the same for everybody; everything else is done by its script
//	GET /app/sign-in               leads through a sign-in and back to /app
//	GET /app/state                 who is signed in, as JSON for the shell
//	GET /app/worker.js             the service worker
//	GET /app/manifest.webmanifest  what makes it installable
//
// The script speaks the device API (docs/openapi/device.yaml) with a key that never leaves the browser (loginui/page/assets/key.js), and
// for all else leads to ordinary pages. What a link brings (a pairing code, the code of a QR image) stands behind #, which no server
// and no log sees. The shell holds nothing of anybody, so that the service worker may keep it for times without a network.
//
// The package refuses to be more than a shell: it decides nothing, reads no form and keeps nothing.
package app
