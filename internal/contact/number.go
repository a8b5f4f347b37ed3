package contact

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Errors of ParseNumber.
var (
	ErrNumber = errors.New("is no phone number")
	ErrMobile = errors.New("is no mobile number, and a code is sent to mobile phones only")
)

// region is where a number without a country code is dialled.
const region = "TR"

// ParseNumber reads a mobile number as a person writes it, with or without country code, and returns it in E.164
// ("+905550000001"). Letters and extensions are refused: the library would dial "CALL ME".
func ParseNumber(s string) (string, error) {
	if len(s) > 40 || strings.Trim(s, "+0123456789 ()-./") != "" {
		return "", ErrNumber
	}
	n, err := phonenumbers.Parse(s, region)
	if err != nil || n.GetExtension() != "" || !phonenumbers.IsValidNumber(n) {
		return "", ErrNumber
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE: // +1 does not tell the two apart
	default:
		return "", ErrMobile
	}
	e164 := phonenumbers.Format(n, phonenumbers.E164)
	if len(e164) < 8 || len(e164) > 16 {
		return "", fmt.Errorf("%w: %d digits", ErrNumber, len(e164)-1)
	}
	return e164, nil
}
