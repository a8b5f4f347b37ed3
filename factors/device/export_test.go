package device

import (
	"context"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
)

// ScanCode is what the QR code on the page of a try says behind "#scan=".
func (f *Factor) ScanCode(ctx context.Context, try factors.Try) (string, error) {
	r, err := f.find(ctx, try)
	if err != nil {
		return "", err
	}
	return f.code(r, f.now()), nil
}

// PairingForTest opens a pairing code beside others, as two sessions in the same moment do.
func (f *Factor) PairingForTest(ctx context.Context, id account.ID) (string, error) {
	code := newPairing()
	_, err := f.kit.Tickets.Open(ctx, factors.Ticket{
		Binding: f.pairingBinding(code), Purpose: factors.Enrol, Account: id, Data: []byte("{}"), CreatedAt: f.now(), ExpiresAt: f.now().Add(Pairing),
	}, nil)
	return code, err
}

// ApproveForTest and DenyForTest answer behind the proof of a request.
func (f *Factor) ApproveForTest(ctx context.Context, id, txn, statement string, ctr int64) error {
	d, err := f.byID(ctx, id)
	if err != nil {
		return err
	}
	return f.approve(ctx, d, txn, statement, ctr, moment{})
}

func (f *Factor) DenyForTest(ctx context.Context, id, txn, reason, statement string, ctr int64) error {
	d, err := f.byID(ctx, id)
	if err != nil {
		return err
	}
	return f.deny(ctx, d, txn, reason, statement, ctr, moment{})
}
