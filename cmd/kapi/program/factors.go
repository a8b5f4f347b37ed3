package program

import (
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/backup"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/messenger"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/factors/sms"
	"github.com/kapi-id/kapi/factors/totp"
	"github.com/kapi-id/kapi/factors/webauthn"
	"github.com/kapi-id/kapi/internal/contact/reach"
)

// list is every way to prove something. A new factor is a folder under factors/ and a line here; sign-in, client policy,
// audit, throttling and translations follow from the contract. kit is what a factor of that name may touch.
func (x *opened) list(passwords *password.Factor, kit func(name string) factors.Kit) []factors.Factor {
	return []factors.Factor{
		passwords,
		device.New(kit(device.Name), x.devices()),
		messenger.New(kit("messenger")),
		sms.New(kit("sms")),
		webauthn.New(kit("webauthn"), x.KeyRoots, x.KeyModels),
		totp.New(kit("totp")),
		backup.New(kit("backup"), passwords.Lend("backup")),
	}
}

// Lines are further lines of the list.
type Lines func(kit func(name string) factors.Kit) []factors.Factor

// factors is the list with what a test adds to it.
func (x *opened) factors(passwords *password.Factor, phone factors.Messenger) []factors.Factor {
	if m, ok := phone.(*reach.Messenger); ok { // what sends to phones sends to apps
		x.push = &reach.Push{Outbox: x.db, Channels: m.Channels}
	}
	kit := func(name string) factors.Kit { return x.kit(name, phone) }
	all := x.list(passwords, kit)
	if x.more != nil {
		all = append(all, x.more(kit)...)
	}
	return all
}
