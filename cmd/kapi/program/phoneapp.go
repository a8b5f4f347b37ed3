package program

import (
	"net/http"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/loginui/app"
	"github.com/kapi-id/kapi/loginui/citizen"
)

// appReader tells the phone app who is signed in, and whether there is a registered device.
func appReader(citizens *citizen.Handler, registry *factors.Registry) func(*http.Request) (app.Reader, error) {
	return func(r *http.Request) (app.Reader, error) {
		a, ok, err := citizens.Reader(r)
		if err != nil || !ok {
			return app.Reader{}, err
		}
		out := app.Reader{SignedIn: true, TwoFactor: a.TwoFactor}
		if d, ok := registry.Get(device.Name).(factors.Enroller); ok {
			s, err := d.Standing(r.Context(), a.ID)
			if err != nil {
				return app.Reader{}, err
			}
			out.Device = s.Name
		}
		return out, nil
	}
}
