package words

import "time"

// zone is the time zone of everything people read: Türkiye has had no other since 2016.
var zone = time.FixedZone("+03", 3*60*60)

// Date is a day as people of the language write it: 21.11.2024, 21 Nov 2024; "" for the zero time.
func Date(lang string, t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case lang == "en":
		return t.In(zone).Format("2 Jan 2006")
	}
	return t.In(zone).Format("02.01.2006")
}

// Clock is the time of day: 14:05; "" for the zero time.
func Clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format("15:04")
}

// Moment is both, as a sentence shows a time.Time that it is given: 21.11.2024 14:05, 21 Nov 2024 14:05.
func Moment(lang string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Date(lang, t) + " " + Clock(t)
}
