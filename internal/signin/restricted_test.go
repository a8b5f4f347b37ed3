package signin

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
)

// Row RC5: a session without the second factor stands only for the page that unblocks, and only while the SIM card is what hinders.
func TestRC5_OnlyTheUnblockPageLetsInWithoutTheSecondStep(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	who := account.Account{ID: "a", State: account.Active, Ceiling: acr.High, TwoFactor: true, TwoFactorSince: now.Add(-time.Hour)}
	password := factors.Proof{Factor: "password", Account: "a", Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low, At: now}
	card := password
	card.Factor, card.Kinds, card.Level = "card", factors.Know|factors.Have, acr.High
	for _, c := range []struct {
		name     string
		client   string
		path     string
		hindered []string
		seconds  []string
		want     Do
	}{
		{"the page that unblocks", Self, UnblockPath, []string{"sim"}, nil, Complete},
		{"below it", Self, UnblockPath + "/code?by=mail", []string{"sim"}, nil, Complete},
		{"another page", Self, "/me", []string{"sim"}, nil, Explain},
		{"a page that looks like it", Self, UnblockPath + "ed", []string{"sim"}, nil, Explain},
		{"the operator cannot tell", Self, UnblockPath, []string{"operator"}, nil, Explain},
		{"nothing hinders, nothing is there", Self, UnblockPath, nil, nil, Explain},
		{"there is another second factor", Self, UnblockPath, []string{"sim"}, []string{"backup"}, AskSecond},
		{"a client", "rp", UnblockPath, []string{"sim"}, nil, Explain},
	} {
		for _, first := range []factors.Proof{password, card} {
			back, _ := json.Marshal(c.path)
			x := Transaction{State: Open, Ask: Ask{Client: c.client, Return: back}, Progress: Progress{Account: "a", Ceiling: acr.High, Begun: true, Consented: true, Proofs: []factors.Proof{first}}}
			f := Facts{Now: now, Client: clients.Client{ID: c.client}, Account: who, Firsts: []string{"password", "card"}, Seconds: c.seconds, Hindered: c.hindered}
			if got := Next(x, f); got.Do != c.want {
				t.Errorf("%s after %s: %+v, want %v", c.name, first.Factor, got, c.want)
			}
		}
	}

	second := factors.Proof{Factor: "sms", Account: "a", Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, Level: acr.Low, At: now}
	off, later := who, who
	off.TwoFactor, later.TwoFactorSince = false, now.Add(time.Minute)
	for _, c := range []struct {
		name   string
		a      account.Account
		proofs []factors.Proof
		want   bool
	}{
		{"the first step alone", who, []factors.Proof{password}, true},
		{"a strong one alone", who, []factors.Proof{card}, true},
		{"both", who, []factors.Proof{password, second}, false},
		{"two-factor authentication off", off, []factors.Proof{password}, false},
		{"switched on afterwards", later, []factors.Proof{password}, false},
	} {
		if got := Restricted(c.a, c.proofs); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
