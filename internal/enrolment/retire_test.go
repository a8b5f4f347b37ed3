package enrolment

import (
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/contact"
)

// RC3: of a day the first stays, of another day none does.
func TestRC3_Retired(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	phone := func(n string) contact.Phone { return contact.Phone{Number: n, Grade: contact.Verified} }
	var k contact.Contacts
	retire(&k, phone("1"), contact.Email{}, now)
	retire(&k, phone("2"), contact.Email{}, now.Add(time.Hour))
	if k.OldPhone != "1" || !k.OldUntil.Equal(now.Add(time.Hour+OldLife)) {
		t.Errorf("%+v", k)
	}
	later := k.OldUntil // the number may be another person's by now
	retire(&k, contact.Phone{}, contact.Email{Address: "a@example.org"}, later)
	if k.OldPhone != "" || k.OldEmail != "a@example.org" {
		t.Errorf("%+v", k)
	}
	stolen := phone("3")
	stolen.BlockedAt = now
	if retire(&k, stolen, contact.Email{}, later); k.OldPhone != "" {
		t.Errorf("a changed SIM card is told: %+v", k)
	}
}
