// Package citizen owns the pages on which people look after their own account: who they are to Kapi, their sign-ins and
// sessions, their password, two-factor authentication, the ways to sign in that factors let them set up (factors.Enroller), closing
// some of them, the services that they agreed to share data with, what they were told (notice), "this was not me", and signing out. Enter with New and Handler.Mount; Source and Words
// go to page.New and words.Load.
//
// Who has no living session is sent through a sign-in of Kapi's own (signin.Self) and comes back by /me/enter. Every change
// needs a sign-in of the last 15 minutes, at two steps where two-factor authentication is on or a second factor was set up,
// commits with its audit event, and is seen in the person's own history.
//
// The package refuses to name any session but the person's own ones, to believe a link that says that something was done or
// agreed to, to switch two-factor authentication off without a second factor given for just that, and to lead anywhere but
// below /me after a sign-in.
package citizen
