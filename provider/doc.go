// Package provider owns the protocol: OpenID Connect Core, Discovery, RP-Initiated Logout and the OAuth endpoints around
// them. One file is one endpoint, one named function is one rule.
//
// Enter with New and Server.Mount. A request for sign-in becomes a signin.Transaction at /authorize. Where no page has to be
// shown it is answered there; otherwise the pages bring the person through it and come back at /authorize/callback or
// /authorize/refused, where the answer to the client is made.
// The provider shows no page of its own: Pages is what it asks of whoever draws them.
//
// Server implements op.Server of zitadel/oidc, whose request and error types it speaks, but mounts neither its HTTP front
// nor its LegacyServer: the front takes secrets from the query, decodes a form twice and answers a wrong secret with
// 400; the LegacyServer lets PKCE be left out and panics on a JWT whose payload is null. What Server does not override is
// op.UnimplementedServer, which answers every other grant with unsupported_grant_type.
//
// The package refuses what is not exactly as registered: a redirect URI by one byte, a method of client authentication, a
// signature algorithm, a parameter given twice, a PKCE method other than S256. It never raises acr, and no error text
// says more than the protocol asks for.
package provider
