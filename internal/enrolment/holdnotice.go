package enrolment

import (
	"context"
	"slices"
	"strconv"

	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/words"
)

// HoldNotices tells how a hold is undone: a link by e-mail, a code by SMS, which never holds a link.
type HoldNotices struct {
	Outbox interface {
		Enqueue(ctx context.Context, m notify.Message) error
	}
	Words  *words.Catalogue
	Issuer string // URL; links are built of it and of nothing else
}

// sentences of a hold.
var sentences = map[string]struct{ sms, subject, text string }{
	HoldFactors: {"hold.factors.sms", "hold.factors.subject", "hold.factors.mail"},
	HoldDevice:  {"hold.device.sms", "hold.device.subject", "hold.device.mail"},
	HoldPhone:   {"hold.phone.sms", "hold.phone.subject", "hold.phone.mail"},
	HoldEmail:   {"hold.email.sms", "hold.email.subject", "hold.email.mail"},
}

// placed tells every proven channel of before the change: who changed it may have the new one in hand.
func (n HoldNotices) placed(ctx context.Context, h Hold, lang string, c contact.Contacts, token, code string) error {
	if lang == "" {
		lang = words.Languages[0]
	}
	phones, mails := channels(h, c)
	s := sentences[h.What]
	for i, to := range phones {
		text := n.Words.Text(lang, s.sms, map[string]any{"time": h.Due, "code": code[:4] + "-" + code[4:]})
		if err := n.send(ctx, h, "sms", i, to, text); err != nil {
			return err
		}
	}
	for i, to := range mails {
		text := n.Words.Text(lang, s.subject, nil) + "\n" +
			n.Words.Text(lang, s.text, map[string]any{"time": h.Due, "link": UndoLink(n.Issuer, token), "code": code[:4] + "-" + code[4:]})
		if err := n.send(ctx, h, "mail", i, to, text); err != nil {
			return err
		}
	}
	return nil
}

func channels(h Hold, c contact.Contacts) (phones, mails []string) {
	add := func(list *[]string, value string, ok bool) {
		if ok && value != "" && !slices.Contains(*list, value) {
			*list = append(*list, value)
		}
	}
	old := h.CreatedAt.Before(c.OldUntil)
	// A number whose SIM card was changed may be a stranger's by now.
	add(&phones, h.Data.Phone.Number, h.What == HoldPhone && h.Data.Phone.BlockedAt.IsZero())
	add(&phones, c.Phone.Number, h.What != HoldPhone && (c.Phone.Grade == contact.Verified || c.Phone.Grade == contact.IDVerified) && c.Phone.BlockedAt.IsZero())
	add(&phones, c.OldPhone, old)
	add(&mails, h.Data.Email.Address, h.What == HoldEmail)
	add(&mails, c.Email.Address, h.What != HoldEmail && c.Email.Verified)
	add(&mails, c.OldEmail, old)
	for _, between := range h.Data.Also {
		add(&phones, between, h.What == HoldPhone)
		add(&mails, between, h.What == HoldEmail)
	}
	return phones, mails
}

// send enqueues for the i-th receiver of a channel; what tells two messages apart is kept in the clear, so it names no number or address.
func (n HoldNotices) send(ctx context.Context, h Hold, channel string, i int, to, text string) error {
	return n.Outbox.Enqueue(ctx, notify.Message{Channel: channel, Dedupe: "hold:" + h.ID + ":" + channel + ":" + strconv.Itoa(i), Account: h.Account,
		To: to, Text: text, Deadline: h.Due, CreatedAt: h.CreatedAt})
}
