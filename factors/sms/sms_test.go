package sms

import (
	"testing"

	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
)

const ayse account.ID = "ayse"

func TestFactor(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		return factortest.ByCode(t, kit, ayse, New(kit.Factors()))
	})
}
