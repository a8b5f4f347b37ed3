package portal

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
)

// frame is what every page gets.
type frame struct {
	Lang, Other string
	In          bool
	Session     session
	Desks       []string // that are open
	Now         time.Time
	Data        any
}

// message is a page of few words with a way on.
type message struct {
	Title, Text string // keys
	Code        string // an error code of the provider, shown small for whoever is asked for help
	Again       string // where a sign-in begins; "" = nowhere
	Label       string // key of what that is called; "" = try again
}

// Way is the key of the words on the way on.
func (m message) Way() string {
	if m.Label == "" {
		return "again"
	}
	return m.Label
}

var templates = func() *template.Template {
	t := template.New("").Funcs(template.FuncMap{"w": say, "methods": methods, "level": level, "day": day, "table": table})
	return template.Must(t.ParseFS(files, "pages/*.html"))
}()

func (p *portal) show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	f := frame{Lang: language(r), Other: "en", Now: p.Now(), Data: data}
	if f.Lang == "en" {
		f.Other = "tr"
	}
	f.Session, f.In = p.session(r)
	for _, d := range Desks() {
		if p.open(d) {
			f.Desks = append(f.Desks, d)
		}
	}
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, f); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

// home is also where the provider sends the browser when it has ended its session: then it says so once.
func (p *portal) home(w http.ResponseWriter, r *http.Request) {
	if cookieOf(r, "portal-left") != "" {
		p.cookie(w, "portal-left", "", 0)
		p.show(w, r, http.StatusOK, "message", message{Title: "bye.title", Text: "bye.text", Again: "/login", Label: "signin"})
		return
	}
	p.show(w, r, http.StatusOK, "home", nil)
}

// ask says why a page needs a sign-in, before it sends the person to one.
func (p *portal) ask(w http.ResponseWriter, r *http.Request, key string) {
	p.show(w, r, http.StatusOK, "message", message{Title: key + ".title", Text: key + ".ask", Again: again(login{to: r.URL.Path}), Label: "continue"})
}

func (p *portal) notifications(w http.ResponseWriter, r *http.Request) {
	if s, ok := p.session(r); !ok || s.Desk != "" || !slices.Contains(needs[r.URL.Path].acr, s.Claims.ACR) {
		p.ask(w, r, "notices")
		return
	}
	p.show(w, r, http.StatusOK, "notifications", nil)
}

func (p *portal) document(w http.ResponseWriter, r *http.Request) {
	if s, ok := p.session(r); !ok || (!s.Permit && !s.Signed) {
		p.ask(w, r, "document")
		return
	}
	p.show(w, r, http.StatusOK, "document", nil)
}

// desk is a page of an application with a policy of its own: it needs a sign-in of that application.
func (p *portal) desk(w http.ResponseWriter, r *http.Request) {
	n, ok := needs[r.URL.Path]
	if !ok || !p.open(n.desk) {
		p.show(w, r, http.StatusNotFound, "message", message{Title: "notfound.title", Text: "notfound.text"})
		return
	}
	if s, ok := p.session(r); !ok || s.Desk != n.desk {
		p.ask(w, r, "desk."+n.desk)
		return
	}
	p.show(w, r, http.StatusOK, "desk", "desk."+n.desk)
}

// signDocument uses the permit up: each signature needs a sign-in of its own.
func (p *portal) signDocument(w http.ResponseWriter, r *http.Request) {
	key := cookieOf(r, "portal-session")
	s, ok := p.sessions.take(key)
	if !ok {
		p.ask(w, r, "document")
		return
	}
	s.Signed = s.Signed || s.Permit
	s.Permit = false
	p.sessions.set(key, s)
	http.Redirect(w, r, "/sign-document", http.StatusSeeOther)
}

// language: what was switched to, then what the browser prefers, then Turkish.
func language(r *http.Request) string {
	if l := cookieOf(r, "portal-lang"); l == "tr" || l == "en" {
		return l
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		switch tag, _, _ := strings.Cut(strings.TrimSpace(part), ";"); {
		case strings.HasPrefix(strings.ToLower(tag), "tr"):
			return "tr"
		case strings.HasPrefix(strings.ToLower(tag), "en"):
			return "en"
		}
	}
	return "tr"
}

// methods puts the proofs of a sign-in into a list of words: "your password and a code sent to your phone".
func methods(lang string, c idClaims) string {
	var names []string
	for _, s := range c.Steps {
		names = append(names, s.Method)
	}
	if len(names) == 0 {
		names = c.AMR
	}
	var parts []string
	for _, n := range names {
		if n == "mfa" || n == "mca" || n == "user" { // these say something of the methods, they are none
			continue
		}
		if s := phrase(lang, "method."+n, "method.other"); !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	switch n := len(parts); n {
	case 0:
		return say(lang, "method.other")
	case 1:
		return parts[0]
	default:
		return strings.Join(parts[:n-1], ", ") + " " + say(lang, "and") + " " + parts[n-1]
	}
}

func level(lang, acr string) string {
	return phrase(lang, "level."+acr[strings.LastIndexByte(acr, ':')+1:], "level.none")
}

func phrase(lang, key, otherwise string) string {
	if _, ok := sentences[key]; ok {
		return say(lang, key)
	}
	return say(lang, otherwise)
}

var months = map[string][]string{
	"tr": {"Ocak", "Şubat", "Mart", "Nisan", "Mayıs", "Haziran", "Temmuz", "Ağustos", "Eylül", "Ekim", "Kasım", "Aralık"},
	"en": {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
}

// zone of the country: no summer time since 2016, and a container has no zone files.
var zone = time.FixedZone("TRT", 3*60*60)

// day writes Unix seconds as a person reads them.
func day(lang string, seconds int64) string {
	t := time.Unix(seconds, 0).In(zone)
	return t.Format("2 ") + months[lang][t.Month()-1] + t.Format(" 2006, 15:04")
}

type row struct{ Name, Value string }

// table lists the claims as they came, sorted by name.
func table(payload json.RawMessage) (rows []row) {
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	for name, v := range claims {
		text := string(v)
		var s string
		if json.Unmarshal(v, &s) == nil {
			text = s
		}
		rows = append(rows, row{name, text})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Name < rows[j].Name })
	return rows
}
