package program

import (
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/factors/sms"
)

// list is every way to prove something. A new factor is a folder under factors/ and a line here; sign-in, client policy,
// audit, throttling and translations follow from the contract. kit is what a factor of that name may touch.
func list(passwords *password.Factor, kit func(name string) factors.Kit) []factors.Factor {
	return []factors.Factor{
		passwords,
		sms.New(kit("sms")),
	}
}
