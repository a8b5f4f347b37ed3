package program

import (
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/sms"
)

// list is every way to prove something. A new factor is a folder under factors/ and a line here; sign-in, settings,
// audit, throttling and translations follow from the contract.
func (a *App) list() []factors.Factor {
	return []factors.Factor{
		a.password,
		sms.New(a.kit("sms", a.reach)),
	}
}
