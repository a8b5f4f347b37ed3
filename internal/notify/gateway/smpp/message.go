package smpp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

var (
	number = regexp.MustCompile(`^\+?[0-9]{3,15}$`)
	alpha  = regexp.MustCompile(`^[A-Za-z0-9 ]{1,11}$`) // 3GPP TS 23.040 §9.1.2.5
)

// sender reads the address that the message shows to come from.
func sender(from string) (pdu.Address, error) {
	switch {
	case number.MatchString(from) && (from[0] == '+' || len(from) > 6):
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_INTERNATIONAL, data.GSM_NPI_E164, strings.TrimPrefix(from, "+"))
	case number.MatchString(from): // a short code
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_NETWORK, data.GSM_NPI_UNKNOWN, from)
	case alpha.MatchString(from):
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_ALPHANUMERIC, data.GSM_NPI_UNKNOWN, from)
	}
	return pdu.Address{}, errors.New("smpp: the sender is a number, or up to 11 letters and digits")
}

// destination of an E.164 number: international, without its plus.
func destination(to string) (pdu.Address, error) {
	if !number.MatchString(to) || to[0] != '+' {
		return pdu.Address{}, errors.New("the number is not in E.164")
	}
	return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_INTERNATIONAL, data.GSM_NPI_E164, to[1:])
}

// Most of one short message (3GPP TS 23.040 §9.2.3.24).
const (
	mostSeptets = 160
	mostUCS2    = 70
)

// encoding chooses the centre's default alphabet where it has every character, else UCS2.
func encoding(text string) (data.Encoding, error) {
	if len(data.ValidateGSM7String(text)) == 0 {
		runes := []rune(text)
		if n := len(runes) + len(data.GetEscapeChars(runes)); n > mostSeptets {
			return nil, fmt.Errorf("%d septets are more than one message", n)
		}
		return data.GSM7BIT, nil
	}
	if n := len(utf16.Encode([]rune(text))); n > mostUCS2 {
		return nil, fmt.Errorf("%d UCS2 characters are more than one message", n)
	}
	return data.UCS2, nil
}

// validity is the relative time after which the centre drops the message (SMPP 3.4 §7.1.1.2): a code that arrives late is
// worse than none.
func validity(left time.Duration) string {
	left = min(max(left, time.Second), 23*time.Hour)
	s := int(left / time.Second)
	return fmt.Sprintf("000000%02d%02d%02d000R", s/3600, s/60%60, s%60)
}

// States of a receipt (SMPP 3.4 §5.2.28 and appendix B), by the value of message_state.
var states = []string{"", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD"}

var stat = regexp.MustCompile(`(?i)\bstat:([A-Z]{7})\b`)

// state of a receipt; "" when it tells none that we know. The rest of a receipt quotes the text, so nothing else is kept.
func state(p *pdu.DeliverSM) string {
	if f, ok := p.OptionalParameters[pdu.TagMessageStateOption]; ok && len(f.Data) == 1 && int(f.Data[0]) < len(states) {
		return states[f.Data[0]]
	}
	text, err := p.Message.GetMessage()
	if err != nil {
		return ""
	}
	m := stat.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	for _, s := range states {
		if strings.EqualFold(s, m[1]) {
			return s
		}
	}
	return ""
}

// receipt logs and meters a delivery receipt; what people send to us is dropped.
func (g *Gateway) receipt(p *pdu.DeliverSM) {
	if p.EsmClass&0x3c != data.SM_SMSC_DLV_RCPT_TYPE {
		return
	}
	s := state(p)
	if s == "" {
		s = "UNKNOWN"
	}
	level := g.Log.Info
	if s != "DELIVRD" && s != "ENROUTE" && s != "ACCEPTD" {
		level = g.Log.Warn
	}
	level("smpp: receipt", "gateway", g.Name(), "state", s)
	if g.OnReceipt != nil {
		g.OnReceipt(s)
	}
}
