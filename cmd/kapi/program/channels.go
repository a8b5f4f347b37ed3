package program

import (
	"fmt"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway"
)

// routes reads the gateways of every channel, by preference. Without any the factor of the channel says at once that it cannot
// send.
func (a *App) routes() (map[string][]notify.Route, error) {
	routes := map[string][]notify.Route{}
	for channel, setting := range map[string]struct{ name, list string }{
		"sms": {"KAPI_SMS", a.SMS}, "sim": {"KAPI_SIM_MESSAGE", a.SIMMessage}, "messenger": {"KAPI_MESSENGER", a.Messenger}, "mail": {"KAPI_MAIL", a.Mail},
	} {
		if channel == "sms" && a.Routes != nil {
			routes[channel] = a.Routes
			continue
		}
		if setting.list == "" || a.Channels[channel] != nil {
			continue
		}
		var err error
		if routes[channel], err = gateway.Parse(setting.list, gateway.Config{Channel: channel, Template: a.SMSTemplate, Now: a.now, Log: a.log}); err != nil {
			return nil, fmt.Errorf("%s: %w", setting.name, err)
		}
	}
	for channel, given := range a.Channels {
		routes[channel] = given
	}
	return routes, a.pushRoutes(routes)
}
