package device

import (
	"context"

	"github.com/kapi-id/kapi/factors"
)

// ScanCode is what the QR code on the page of a try says behind "#scan=".
func (f *Factor) ScanCode(ctx context.Context, try factors.Try) (string, error) {
	r, err := f.find(ctx, try)
	if err != nil {
		return "", err
	}
	return f.code(r, f.now()), nil
}
