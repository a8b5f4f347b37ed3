// Package visitor owns the pages that somebody meets who is not signed in yet: every step of a sign-in below
// /signin/{id}, the few pages the provider asks for (its own errors, form_post, logout), and the start, help and privacy
// pages. Enter with New and Visitor.Mount; Sources gives the page sources for page.New.
//
// A handler does one thing to the transaction through signin.Flow and then redirects (303) to what is owed now; no handler
// decides what that is. The package refuses nothing by itself: whose transaction it is, what is owed and what is right
// are the flow's business, and what cannot be read is refused by page.Post.
//
//	GET  /signin/{id}                      to what is owed now
//	GET  /signin/{id}/with/{factor}        the page of a factor; POST answers it (fields of the factor)
//	POST /signin/{id}/with/{factor}/again  send again
//	GET  /signin/{id}/choose               all ways that are on offer; POST takes one (method)
//	GET  /signin/{id}/account              go on as the person of the session? POST answers (account = same | other)
//	GET  /signin/{id}/explain              why the wanted level is out of reach; POST goes on
//	GET  /signin/{id}/renew                a new secret in place of one that must go; POST sets it (new_password), or keeps the old one where it may stay (keep)
//	GET  /signin/{id}/consent              which data goes to whom; POST answers (consent = yes | no)
//	GET  /signin/{id}/lost                 the registered device is lost? POST goes on to lost/code (code), lost/again
//	POST /signin/{id}/cancel               back to the service with access_denied
//	POST /signin/{id}/language             switch (lang)
package visitor
