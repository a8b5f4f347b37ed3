package enrolment_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// What people are told of a hold is what happened, in each way in which it begins and ends; where nothing happens they are told nothing.
func TestWhatIsToldOfHolds(t *testing.T) {
	c, err := words.Load(notice.Words())
	if err != nil {
		t.Fatal(err)
	}
	recovered := func(w *held) { w.ok(w.holds.Recovered(t.Context(), w.id, from)) }
	lost := func(w *held) {
		_, err := w.holds.Lost(t.Context(), w.id, from)
		w.ok(err)
	}
	phone := func(w *held) { w.ok(w.holds.PhoneChanged(t.Context(), w.id, w.person.Contacts.Phone, from)) }
	email := func(w *held) {
		w.ok(w.holds.EmailChanged(t.Context(), w.id, contact.Email{Address: "old@example.org", Verified: true}, from))
	}
	undo := func(w *held) {
		h, err := w.holds.Look(t.Context(), w.link())
		w.ok(err)
		w.ok(w.holds.Undo(t.Context(), h, from))
	}
	lift := func(w *held) {
		_, err := w.holds.Lift(t.Context(), w.id, from)
		w.ok(err)
	}
	wait := func(w *held) { w.clock.Advance(2 * enrolment.HoldLife); w.ok(w.holds.CarryOut(t.Context())) }
	device := func(w *held) { w.since = storagetest.Start.Add(-time.Hour) }
	do := func(what ...func(*held)) []func(*held) { return what }

	frozen := []string{"Your ways to sign in cannot be changed for 24 hours, since your password was renewed by phone; until then the renewal can be undone.",
		"Şifreniz telefonla yenilendiği için giriş yöntemleriniz 24 saat değiştirilemez; bu süre içinde yenileme geri alınabilir."}
	undone := []string{"The renewal of your password was undone: the new password is switched off and you are signed out everywhere. For 24 hours no password can be renewed by phone.",
		"Şifre yenileme geri alındı: yeni şifre kapatıldı, her yerde çıkış yapıldı. 24 saat boyunca telefonla şifre yenilenemez."}
	reported := []string{"Your registered device was reported as lost. It will be removed after a waiting time; until then you can object.",
		"Kayıtlı cihazınızın kaybolduğu bildirildi. Bekleme süresi dolunca cihaz silinecek; o zamana kadar itiraz edilebilir."}
	another := []string{"Your phone number was changed; for 24 hours the old one can be brought back.", "Telefon numaranız değişti; 24 saat boyunca eski numara geri getirilebilir."}
	moved := []string{"Your e-mail address was changed; for 24 hours the old one can be brought back.", "E-posta adresiniz değişti; 24 saat boyunca eski adres geri getirilebilir."}
	for name, tt := range map[string]struct {
		do   []func(*held)
		want [][]string // in English and Turkish
	}{
		"a recovery, and its day is over": {do(recovered, wait), [][]string{frozen}},
		"undone, and its day is over":     {do(recovered, undo, wait), [][]string{frozen, undone}},
		"lifted": {do(recovered, lift), [][]string{frozen,
			{"The waiting time for changes to your ways to sign in was lifted by our staff.", "Giriş yöntemlerinizin değiştirilmesi için konan bekleme süresi görevlilerce kaldırıldı."}}},
		"undone and lifted": {do(recovered, undo, lift), [][]string{frozen, undone,
			{"The waiting time for renewing your password by phone was lifted by our staff.", "Telefonla şifre yenileme için konan bekleme süresi görevlilerce kaldırıldı."}}},
		"lost, and gone":          {do(device, lost, wait), [][]string{reported}}, // the removal is told of where it is done
		"lost, and there is none": {do(lost, wait), [][]string{reported}},
		"lost, and objected": {do(device, lost, undo, wait), [][]string{reported,
			{"Somebody objected to the report that your registered device is lost: it stays registered.", "Kayıtlı cihazınızın kaybolduğu bildirimine itiraz edildi: cihaz kayıtlı kalıyor."}}},
		"lost, and lifted": {do(device, lost, lift, wait), [][]string{reported,
			{"The removal of your registered device was stopped by our staff: it stays registered.", "Kayıtlı cihazınızın silinmesi görevlilerce durduruldu: cihaz kayıtlı kalıyor."}}},
		"another number, and its day is over": {do(phone, wait), [][]string{another}},
		"another number, undone": {do(phone, undo), [][]string{another,
			{"The change of your phone number was undone: the old one is back and you are signed out everywhere.", "Telefon değişikliği geri alındı: eski numaranız geri geldi, her yerde çıkış yapıldı."}}},
		"another address, and its day is over": {do(email, wait), [][]string{moved}},
		"another address, undone": {do(email, undo), [][]string{moved,
			{"The change of your e-mail address was undone: the old one is back and you are signed out everywhere.", "E-posta değişikliği geri alındı: eski adresiniz geri geldi, her yerde çıkış yapıldı."}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t)
			for _, step := range tt.do {
				step(w)
			}
			for i, lang := range []string{"en", "tr"} {
				var got, want []string
				for _, e := range w.events {
					if notice.Told(e) {
						got = append(got, notice.OfEvent(c, lang, e))
					}
				}
				for _, s := range tt.want {
					want = append(want, s[i])
				}
				if !slices.Equal(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
			}
		})
	}
}
