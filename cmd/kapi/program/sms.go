package program

import (
	"errors"

	"github.com/kapi-id/kapi/internal/notify"
)

func (a *App) smsRoutes() ([]notify.Route, error) { return nil, errors.New("no gateway") }
