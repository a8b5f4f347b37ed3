// Package sms owns the second factor that every citizen with a proven phone has: six digits sent as a short message to the
// ID-verified number, or, where the subscription has it, as a SIM message: a window that the operator's SIM toolkit opens on the
// phone, sent through a gateway of its own. While that one is down the short message takes its place.
//
// Enter with New. What it refuses is in package code.
package sms
