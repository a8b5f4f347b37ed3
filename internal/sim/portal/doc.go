// Package portal is the notification portal of the Social Security Institution (SSI): a simulated outside party that signs
// citizens in through an OpenID Connect provider. It knows nothing of that provider but its issuer address, and speaks the
// protocol through a foreign code base (coreos/go-oidc and x/oauth2), as an institution would.
//
// Enter with New. Beside its pages it answers GET /login[?acr=…&max_age=…&prompt=…], /claims.json (the ID token's claims of
// this browser's session) and /logout. It refuses an authorization response that this browser did not ask for, that comes
// from another issuer, or whose ID token fails any check of OpenID Connect Core §3.1.3.7. It keeps its sessions in memory.
package portal
