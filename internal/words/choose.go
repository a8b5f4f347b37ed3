package words

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds on what strangers send: a browser names a handful of languages.
const (
	mostTags   = 16
	mostAccept = 1024 // bytes
)

// Choose decides the language of a page: the switch made in this sign-in, then ui_locales (OpenID Connect Core
// §3.1.2.1), then the cookie an earlier switch left, then Accept-Language, then Turkish.
func Choose(switched string, uiLocales []string, cookie, accept string) string {
	if lang, ok := known(switched); ok {
		return lang
	}
	for _, tag := range uiLocales[:min(len(uiLocales), mostTags)] {
		if lang, ok := known(tag); ok {
			return lang
		}
	}
	if lang, ok := known(cookie); ok {
		return lang
	}
	if lang := accepted(accept); lang != "" {
		return lang
	}
	return Languages[0]
}

// known maps a language tag to one of ours by its primary subtag (RFC 4647 §3.4): "en-GB" is "en".
func known(tag string) (string, bool) {
	if len(tag) > 35 { // RFC 5646 §4.4.1
		return "", false
	}
	primary, _, _ := strings.Cut(tag, "-")
	primary, _, _ = strings.Cut(primary, "_")
	primary = strings.ToLower(primary)
	return primary, slices.Contains(Languages, primary)
}

// accepted returns the best of ours in an Accept-Language header (RFC 9110 §12.5.4), "" if it names none.
func accepted(header string) (best string) {
	if len(header) > mostAccept {
		header = header[:mostAccept]
	}
	var quality float64
	for _, part := range strings.SplitN(header, ",", mostTags) {
		tag, params, _ := strings.Cut(part, ";")
		lang, ok := known(strings.TrimSpace(tag))
		if !ok {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		if q > quality {
			best, quality = lang, q
		}
	}
	return best
}

// Direction is the dir attribute of a page in lang. Neither of today's languages needs "rtl"; the pages are laid out
// with logical properties so that the next one may.
func Direction(lang string) string {
	switch lang {
	case "ar", "fa", "he", "ur":
		return "rtl"
	}
	return "ltr"
}
