package program

import (
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway"
)

// smsRoutes reads KAPI_SMS: gateways by preference. Without any the SMS factor says at once that it cannot send.
func (a *App) smsRoutes() ([]notify.Route, error) {
	if a.SMS == "" {
		return nil, nil
	}
	return gateway.Parse(a.SMS, gateway.Config{Template: a.SMSTemplate, Now: a.now, Log: a.log})
}
