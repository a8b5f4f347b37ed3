package program

import (
	"errors"
	"fmt"
	"os"

	"github.com/kapi-id/kapi/factors/webauthn"
)

// takeKeyRoots reads the makers of security keys whose word on hardware counts. It is read once, at the start.
func takeKeyRoots(s *Settings, v string) error {
	if v == "" {
		return nil
	}
	text, err := os.ReadFile(v)
	if err != nil {
		return fmt.Errorf("KAPI_WEBAUTHN_ROOTS: %w", err)
	}
	if s.KeyRoots, err = webauthn.Roots(text); err != nil {
		return fmt.Errorf("KAPI_WEBAUTHN_ROOTS %s: %w: want certificates in PEM", v, err)
	}
	return nil
}

// takeKeyModels reads the models of security keys that may be registered.
func takeKeyModels(s *Settings, v string) (err error) {
	if s.KeyModels, err = webauthn.Allow(v); err != nil {
		return fmt.Errorf("KAPI_WEBAUTHN_ALLOWED: %w", err)
	}
	if s.KeyModels == nil {
		return errors.New("KAPI_WEBAUTHN_ALLOWED lists no model, which would let any key in: list one, or remove the setting")
	}
	return nil
}
