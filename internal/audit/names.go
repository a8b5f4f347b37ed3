package audit

import (
	"maps"
	"slices"
)

// The registered events and the version of their fields.
const (
	SigninFirst       Name = "signin.first"     // a first factor was tried; Details factor
	SigninSecond      Name = "signin.second"    // a second factor was tried; Details factor
	SigninCompleted   Name = "signin.completed" // session made or raised; Details acr, amr, service
	SigninRefused     Name = "signin.refused"   // ended without tokens; Details error
	PasswordChanged   Name = "password.changed"
	PasswordKept      Name = "password.kept" // reminded to change it, the person kept it
	TwoFactorOn       Name = "two_factor.on"
	TwoFactorOff      Name = "two_factor.off"
	CodeSent          Name = "code.sent" // Details factor, channel
	SessionEnded      Name = "session.ended"
	ConsentGiven      Name = "consent.given"
	ConsentWithdrawn  Name = "consent.withdrawn" // with all that the client got of the person; Details service
	GrantIssued       Name = "grant.issued"      // authorization code given to a client
	TokenIssued       Name = "token.issued"      // Details grant_type
	TokenRevoked      Name = "token.revoked"
	TokenReuse        Name = "token.reuse" // code or refresh token used again: the grant is dead
	ClientApplied     Name = "client.applied"
	ClientSecret      Name = "client.secret_rotated"
	PersonApplied     Name = "person.applied"
	PersonUnlocked    Name = "person.unlocked"     // the locks of wrong answers were lifted
	SigningKeyChanged Name = "signing_key.changed" // Details kid, state
	ClientRefused     Name = "client.refused"      // client authentication failed
	FactorSetUp       Name = "factor.set_up"       // a second factor was set up; Details factor, name
	FactorRemoved     Name = "factor.removed"      // Details factor, name, reason
	FactorChanged     Name = "factor.changed"      // renamed, renewed, replaced, push; Details factor, what
	FactorUsed        Name = "factor.used"         // a code of a list was used; Details factor, left
	DeviceApproved    Name = "device.approved"     // the registered device said yes; Details service, action
	DeviceDenied      Name = "device.denied"       // it said no; Details reason (cancel, not_me, number)
	DeviceBlocked     Name = "device.blocked"      // the registered device may be a copy; Details reason
	PushPaused        Name = "push.paused"         // too many pushes; Details until
	PhoneDeclared     Name = "phone.declared"      // a number was typed
	PhoneVerified     Name = "phone.verified"      // a code sent there came back
	PhoneIDVerified   Name = "phone.id_verified"   // it is proven to be the person's; Details how
	PhoneRemoved      Name = "phone.removed"
	SIMBlocked        Name = "sim.blocked"   // the SIM card was changed: no codes go there
	SIMUnblocked      Name = "sim.unblocked" // Details how
	EmailDeclared     Name = "email.declared"
	EmailVerified     Name = "email.verified" // a link or code sent there came back
	EmailRemoved      Name = "email.removed"
	RecoveryStarted   Name = "recovery.started"
	RecoveryTried     Name = "recovery.tried"   // details or a code were wrong; Details step
	RecoveryDone      Name = "recovery.done"    // a new password for a forgotten one
	RecoveryMethod    Name = "recovery.method"  // how a forgotten password is renewed; Details by (phone, both)
	HoldPlaced        Name = "hold.placed"      // something waits, rests or can be undone until a moment; Details what, until
	HoldUndone        Name = "hold.undone"      // Details what
	HoldOver          Name = "hold.over"        // its moment came, or the office ended it; Details what, by (office)
	AccessChanged     Name = "access.changed"   // a first method was closed or opened; Details factor, state
	Disavowed         Name = "signin.disavowed" // "this was not me": everything was ended
	PartnerAsked      Name = "partner.asked"    // a partner's machine acted; Details partner, what
)

var versions = map[Name]int{
	SigninFirst: 1, SigninSecond: 1, SigninCompleted: 1, SigninRefused: 1, PasswordChanged: 1, PasswordKept: 1, TwoFactorOn: 1,
	TwoFactorOff: 1, CodeSent: 1, SessionEnded: 1, ConsentGiven: 1, ConsentWithdrawn: 1, GrantIssued: 1, TokenIssued: 1, TokenRevoked: 1,
	TokenReuse: 1, ClientApplied: 1, ClientSecret: 1, PersonApplied: 1, PersonUnlocked: 1, SigningKeyChanged: 1, ClientRefused: 1,
	FactorSetUp: 1, FactorRemoved: 1, FactorChanged: 1, FactorUsed: 1, DeviceApproved: 1, DeviceDenied: 1, DeviceBlocked: 1, PushPaused: 1, PhoneDeclared: 1, PhoneVerified: 1, PhoneIDVerified: 1, PhoneRemoved: 1, SIMBlocked: 1, SIMUnblocked: 1, EmailDeclared: 1, EmailVerified: 1, EmailRemoved: 1, RecoveryStarted: 1, RecoveryTried: 1, RecoveryDone: 1, RecoveryMethod: 1, HoldPlaced: 1, HoldUndone: 1, HoldOver: 1, AccessChanged: 1, Disavowed: 1, PartnerAsked: 1,
}

// Version returns the schema version of a registered name; 0 for an unknown one, which no store may write.
func (n Name) Version() int { return versions[n] }

// Names lists all registered names, sorted.
func Names() []Name { return slices.Sorted(maps.Keys(versions)) }
