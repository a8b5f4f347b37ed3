package program

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
)

// machines mounts what factors have for machines, such as the API of registered devices, below /factors/NAME/. A cookie proves
// nothing there and does not get that far; what does not exist is said by the factor, not by a page.
func (a *App) machines(r *mux.Router, registry *factors.Registry) {
	for _, f := range registry.All(0) {
		m, ok := f.(factors.Mounter)
		if !ok {
			continue
		}
		prefix := "/factors/" + f.Info().Name
		endpoints := http.StripPrefix(prefix, m.Endpoints())
		r.PathPrefix(prefix + "/").Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Cookie")
			endpoints.ServeHTTP(w, r)
		}))
	}
}

// devices is what the settings say of apps, and what is known of lost ones.
func (x *opened) devices() device.Options {
	return device.Options{
		Minimum: x.AppMinimum, Links: x.AppLinks, WebPushKey: x.apps, WebPush: x.posts,
		Leaving: func(ctx context.Context, id account.ID) (said, goes time.Time, err error) {
			h, err := x.db.OpenHold(ctx, id, enrolment.HoldDevice, x.now())
			if errors.Is(err, fault.ErrNotFound) {
				err = nil
			}
			return h.CreatedAt, h.Due, err
		},
		Held: func(ctx context.Context, id account.ID) error {
			return (&enrolment.Holds{Store: x.db, Now: x.now}).Held(ctx, id, acr.Low) // the device is one factor
		},
		Stands: func(ctx context.Context, binding string) (bool, error) {
			id, _ := strings.CutPrefix(binding, "enrol:")
			s, err := x.db.SessionByID(ctx, id)
			if errors.Is(err, fault.ErrNotFound) {
				return false, nil
			}
			return err == nil && s.Alive(x.now()), err
		},
	}
}

func takeAppMinimum(s *Settings, v string) (err error) {
	if s.AppMinimum, err = device.ParseMinimum(v); err != nil {
		return fmt.Errorf("KAPI_APP_MIN_VERSION: %w", err)
	}
	return nil
}

func takeAppLinks(s *Settings, v string) (err error) {
	if s.AppLinks, err = device.ParseLinks(strings.TrimSpace(v)); err != nil {
		return fmt.Errorf("KAPI_APP_LINKS: %w", err)
	}
	return nil
}
