// Package arch owns the picture of who may import whom, and holds it by a test. It has no code to enter.
//
//	cmd/*  e2e  internal/testkapi  internal/sim      may import everything (sim: no domain package)
//	provider  loginui/*  factors/<name>  storage     adapters: never import one another (audience → page apart)
//	internal/signin recovery enrolment               domain: each declares the small store it needs;
//	internal/session grant delegation notify/notice  a row may use the rows below it, never one above
//	factors  clients  internal/contact
//	internal/notify account access
//	internal/audit fault secret …                    leaves: the standard library, at most one library each
package arch
