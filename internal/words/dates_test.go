package words_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/internal/words"
)

func TestDates(t *testing.T) {
	at := time.Date(2024, 2, 1, 22, 5, 0, 0, time.UTC) // the day after in Türkiye
	c, err := words.Load(fstest.MapFS{"words.json": {Data: []byte(`{"until": {"tr": "{time} saatine kadar", "en": "until {time}"}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string][3]string{
		"tr": {"02.02.2024", "02.02.2024 01:05", "02.02.2024 01:05 saatine kadar"},
		"en": {"2 Feb 2024", "2 Feb 2024 01:05", "until 2 Feb 2024 01:05"},
	} {
		if got := [3]string{words.Date(lang, at), words.Moment(lang, at), c.Text(lang, "until", map[string]any{"time": at})}; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if words.Date(lang, time.Time{})+words.Clock(time.Time{})+words.Moment(lang, time.Time{}) != "" {
			t.Errorf("%s: no time is shown as one", lang)
		}
	}
}
