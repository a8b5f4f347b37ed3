package audit

// The registered events and the version of their fields.
const (
	SigninFirst       Name = "signin.first"     // a first factor was tried; Details factor
	SigninSecond      Name = "signin.second"    // a second factor was tried; Details factor
	SigninCompleted   Name = "signin.completed" // session made or raised; Details acr, amr, service
	SigninRefused     Name = "signin.refused"   // ended without tokens; Details error
	PasswordChanged   Name = "password.changed"
	TwoFactorOn       Name = "two_factor.on"
	TwoFactorOff      Name = "two_factor.off"
	CodeSent          Name = "code.sent" // Details factor, channel
	SessionEnded      Name = "session.ended"
	ConsentGiven      Name = "consent.given"
	GrantIssued       Name = "grant.issued" // authorization code given to a client
	TokenIssued       Name = "token.issued" // Details grant_type
	TokenRevoked      Name = "token.revoked"
	TokenReuse        Name = "token.reuse" // code or refresh token used again: the grant is dead
	ClientApplied     Name = "client.applied"
	ClientSecret      Name = "client.secret_rotated"
	PersonApplied     Name = "person.applied"
	PersonUnlocked    Name = "person.unlocked"     // the locks of wrong answers were lifted
	SigningKeyChanged Name = "signing_key.changed" // Details kid, state
	ClientRefused     Name = "client.refused"      // client authentication failed
)

var versions = map[Name]int{
	SigninFirst: 1, SigninSecond: 1, SigninCompleted: 1, SigninRefused: 1, PasswordChanged: 1, TwoFactorOn: 1,
	TwoFactorOff: 1, CodeSent: 1, SessionEnded: 1, ConsentGiven: 1, GrantIssued: 1, TokenIssued: 1, TokenRevoked: 1,
	TokenReuse: 1, ClientApplied: 1, ClientSecret: 1, PersonApplied: 1, PersonUnlocked: 1, SigningKeyChanged: 1, ClientRefused: 1,
}

// Version returns the schema version of a registered name; 0 for an unknown one, which no store may write.
func (n Name) Version() int { return versions[n] }
