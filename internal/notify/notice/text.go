package notice

import (
	"slices"
	"strings"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
)

// detailed are the details that a sentence may name.
var detailed = []string{"factor", "name", "left", "service"}

// Sentence says in one line what happened, as the person's own list shows it.
func Sentence(c *words.Catalogue, lang string, n Notice) string {
	args := map[string]any{}
	for _, k := range detailed {
		args[k] = plain(n.Details[k])
	}
	if f := "factor." + n.Details["factor"]; c.Has(f) {
		args["factor"] = c.Text(lang, f, nil)
	}
	if !c.Has(n.Key) { // of a release that knew more
		return c.Text(lang, "notice.other", nil)
	}
	return c.Text(lang, n.Key, args)
}

// Deed says what whoever did not do it should do; for the person's own pages.
func Deed(c *words.Catalogue, lang string, n Notice) string {
	return c.Text(lang, "notice.do."+doOf(n.Key), nil)
}

// NotMe says whether saying "this was not me" is what helps.
func NotMe(n Notice) bool { return doOf(n.Key) == doNotMe }

func doOf(key string) string {
	for _, r := range rules {
		if r.Key == key {
			return r.Do
		}
	}
	return doNotMe
}

// plain keeps what strangers typed, such as the name of a device, from being taken for words of ours or for a link.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return -1
		case r == '.', r == '/', r == ':', r == '@':
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return strings.TrimSpace(s)
}

// told is a notice on its way out, in one language.
type told struct {
	words *words.Catalogue
	lang  string
	n     Notice
	do    string
	place string // "" = not known
}

func (t told) say(key string, args map[string]any) string { return t.words.Text(t.lang, key, args) }

func (t told) when() map[string]any {
	return map[string]any{"date": words.Date(t.lang, t.n.At), "time": words.Clock(t.n.At)}
}

func (t told) where() string {
	browser, system := web.Browser(t.n.Agent)
	parts := []string{}
	for _, p := range []string{t.place, browser, system} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// mail is the text of an e-mail: the subject in its first line. link may be "".
func (t told) mail(link string) string {
	what := Sentence(t.words, t.lang, t.n)
	lines := []string{t.say("notice.subject", map[string]any{"what": strings.TrimSuffix(what, ".")}), "", what, "", t.say("notice.when", t.when())}
	if w := t.where(); w != "" {
		lines = append(lines, t.say("notice.where", map[string]any{"where": w}))
	}
	lines = append(lines, "", t.say("notice.mine", nil), "")
	if link != "" {
		lines = append(lines, t.say("notice.do.link", nil), link)
	} else {
		lines = append(lines, t.say("notice.do."+t.do, nil))
	}
	return strings.Join(append(lines, "", t.say("notice.never", nil)), "\n")
}

// sms is one text message: no link, and never a digit in front, which phones take for a code.
func (t told) sms() string {
	args := t.when()
	parts := []string{t.say("notice.brand", nil), Sentence(t.words, t.lang, t.n), t.say("notice.moment", args), t.say("notice.mine", nil), t.say("notice.do."+t.do, nil)}
	if t.place != "" {
		args["where"] = t.place
		parts[2] = t.say("notice.moment.where", args)
	}
	return strings.Join(parts, " ")
}

// OfEvent says what an event tells, in one line; for the history of events.
func OfEvent(c *words.Catalogue, lang string, e audit.Event) string {
	r, _ := ruleFor(e)
	return Sentence(c, lang, Notice{Key: r.Key, Details: e.Details})
}

// Told says whether people are told of an event.
func Told(e audit.Event) bool {
	_, ok := ruleFor(e)
	return ok
}

// MayDisavow says whether saying "this was not me" is what helps.
func MayDisavow(e audit.Event) bool {
	r, ok := ruleFor(e)
	return ok && r.Do == doNotMe
}

// Changes are the events of which people are told whatever became of them, and which are no step of a sign-in.
func Changes() (names []audit.Name) {
	for _, r := range rules {
		if r.Key != "" && !strings.HasPrefix(string(r.Name), "signin.") && !slices.Contains(names, r.Name) || r.Name == audit.Disavowed {
			names = append(names, r.Name)
		}
	}
	return names
}
