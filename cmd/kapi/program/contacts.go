package program

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/code"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/contact/simswap"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/provider"
	"github.com/kapi-id/kapi/provider/partner"
)

// simCards is who blocks and unblocks numbers whose SIM card was changed.
func (x *opened) simCards() *simblock.Keeper {
	return &simblock.Keeper{Store: x.db, Audit: x.record, Now: x.now}
}

// mostForecast is more than all people with a phone could be sent.
const mostForecast = 1_000_000_000

func takeForecast(s *Settings, v string) (err error) {
	if s.SendForecast, err = strconv.Atoi(v); err != nil || s.SendForecast < 1 || s.SendForecast > mostForecast {
		return fmt.Errorf("KAPI_SEND_FORECAST %q: how many messages go to phones on a usual day, from 1 to %d", v, mostForecast)
	}
	return nil
}

// askOperator lets the factors ask the operator, where there is one to ask (KAPI_SIM_SWAP).
func (a *App) askOperator() error {
	if a.SIMSwap == "" {
		return nil
	}
	client, err := simswap.Parse(a.SIMSwap, simswap.Config{Now: a.now, Log: a.log})
	if err != nil {
		return fmt.Errorf("KAPI_SIM_SWAP: %w", err)
	}
	cards := a.simCards()
	a.reach.SIM, a.reach.Accounts = client, a.db
	a.reach.Block = func(ctx context.Context, id account.ID, number string, changed time.Time) error {
		err := cards.Block(ctx, id, number, changed, simblock.ByQuery, audit.Event{Actor: "operator"})
		a.worker.Wake()
		return err
	}
	return nil
}

// contacts is what changes phones and addresses. A command has no holds to look after: an office is above them.
func (x *opened) contacts(sender enrolment.ContactSender, holds enrolment.ContactHolds, catalogue *words.Catalogue, wake func()) *enrolment.Contacts {
	return &enrolment.Contacts{
		Store: x.db, Tickets: x.db.Tickets("contact"), Sender: sender, Throttle: x.db, Holds: holds, SIM: x.simCards(), Audit: x.record,
		Words: catalogue, MAC: func(parts ...string) []byte { return x.ring.MAC(secret.Pepper, parts...) }, Box: x.ring, Issuer: x.Issuer, Wake: wake, Now: x.now,
		Guesses: func(id account.ID) string { return signin.TryKey(factors.Info{Counter: code.Counter}, id) },
	}
}

// partners makes the endpoints for machines of partners.
func (a *App) partners(server *provider.Server) (*partner.Handler, error) {
	c := partner.Config{Machine: server.Machine, Store: a.db, SIM: a.simCards(), Audit: a.record, Wake: a.worker.Wake, Now: a.now, Log: a.log}
	if a.SIMEvents != "" {
		proof, err := partner.ParseProof(a.SIMEvents, a.Issuer+partner.PathEvents)
		if err != nil {
			return nil, fmt.Errorf("KAPI_SIM_EVENTS: %w", err)
		}
		c.Events = proof
	}
	return partner.New(c)
}

// indexPhones looks once a minute for people whom an older program wrote, until there are none.
func (a *App) indexPhones(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := a.db.IndexPhones(ctx, 200)
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}

// noHolds is for the office, which is above them.
type noHolds struct{}

func (noHolds) Held(context.Context, account.ID, acr.Level) error { return nil }
func (noHolds) PhoneChanged(context.Context, account.ID, contact.Phone, audit.Event) error {
	return nil
}
func (noHolds) EmailChanged(context.Context, account.ID, contact.Email, audit.Event) error {
	return nil
}

type personVouchCmd struct {
	configured
	NationalID string `arg:"" help:"ID number."`
	Phone      string `arg:"" help:"Mobile number, with its country: +905550000001."`
	Reason     string `required:"" placeholder:"TEXT" help:"Number of the evidence: what was seen, and where it is kept."`
}

func (personVouchCmd) Help() string {
	return `What a registration office does for a person who is there with the ID card: from now on the number counts as proven to be
theirs, may be used for two-factor authentication, and is no longer blocked. The record keeps the reason; the person is told, at the old
number too.

Example:
  kapi person vouch-phone 10000000146 +905550000001 --reason "ID card A12X34567, form 2026/118"`
}

func (c personVouchCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		return officeSays(con, x.VouchPhone(ctx, c.NationalID, c.Phone, c.Reason), "the phone is ID-verified")
	})
}

// VouchPhone is what the command of that name does.
func (x *opened) VouchPhone(ctx context.Context, nationalID, phone, reason string) error {
	n, reason, err := officeAsks(nationalID, reason)
	if err != nil {
		return err
	}
	return x.contacts(nil, noHolds{}, nil, func() {}).Vouch(ctx, n, phone, reason, audit.Event{Actor: "cli"})
}

type personUnblockCmd struct {
	configured
	NationalID string `arg:"" help:"ID number."`
	Reason     string `required:"" placeholder:"TEXT" help:"Number of the evidence: what was seen, and where it is kept."`
}

func (personUnblockCmd) Help() string {
	return `After a change of the SIM card no codes go to a person's number. A registration office that sees the person with the ID card and
the phone lifts that here. The record keeps the reason; the person is told.

Example:
  kapi person unblock-sim 10000000146 --reason "ID card A12X34567, form 2026/119"`
}

func (c personUnblockCmd) Run(ctx context.Context, con *console) error {
	return c.with(ctx, con, func(x *opened) error {
		return officeSays(con, x.UnblockSIM(ctx, c.NationalID, c.Reason), "unblocked")
	})
}

// UnblockSIM is what the command of that name does.
func (x *opened) UnblockSIM(ctx context.Context, nationalID, reason string) error {
	n, reason, err := officeAsks(nationalID, reason)
	if err != nil {
		return err
	}
	a, err := x.db.AccountByNationalID(ctx, n)
	if err != nil {
		return err
	}
	return x.simCards().Unblock(ctx, a.ID, simblock.ByOffice, audit.Event{Actor: "cli"}, map[string]string{"reason": reason})
}

func officeAsks(number, reason string) (account.NationalID, string, error) {
	n, err := account.ParseNationalID(number)
	if err != nil {
		return "", "", errors.New("this is no ID number: 11 digits with a right checksum")
	}
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > 200 {
		return "", "", errors.New("--reason: up to 200 characters")
	}
	return n, reason, nil
}

func officeSays(con *console, err error, done string) error {
	switch {
	case errors.Is(err, simblock.ErrNotBlocked):
		return errors.New("the person's number is not blocked")
	case errors.Is(err, fault.ErrNotFound):
		return errors.New("there is no such person")
	case errors.Is(err, contact.ErrNumber), errors.Is(err, contact.ErrMobile):
		return errors.New("this is no mobile number: write it with its country, e.g. +905550000001")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(con.out, done)
	return err
}
