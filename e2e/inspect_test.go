package e2e

import (
	_ "embed"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe.min.js
var axe string

// Tolerate lets console messages pass that a story causes on purpose.
func (b *Browser) Tolerate(pattern string) *Browser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tolerate = regexp.MustCompile(pattern)
	return b
}

// listen keeps what the page says in the console: errors of scripts, blocked resources, violations of the policy.
func (b *Browser) listen() {
	b.t.Helper()
	messages := chromedp.Console(b.ctx)
	_, err := chromedp.Call(b.ctx, log.Enable, struct{}{})
	b.do("listen to the console", err)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.console = append(b.console, m)
			b.mu.Unlock()
		}
	}()
}

// said takes the messages that count against a page.
func (b *Browser) said(at string) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.console {
		switch {
		case !m.IsException() && m.Type != "error" && m.Type != "warning":
		case m.Source == "network" && m.URL == at: // the document itself was a 4xx: pages of errors are pages
		case m.Source == "network" && strings.Contains(m.Text, "status of 4") && isPage(m.URL):
		case b.tolerate != nil && b.tolerate.MatchString(m.Text):
		default:
			out = append(out, fmt.Sprintf("console %s: %s (%s)", m.Type, m.Text, m.URL))
		}
	}
	b.console = nil
	return out
}

// isPage tells an address that a person goes to from that of a file.
func isPage(address string) bool {
	u, err := url.Parse(address)
	return err == nil && !strings.Contains(u.Path[strings.LastIndexByte(u.Path, '/')+1:], ".")
}

// inspect fails the journey if the page is not fit for everybody.
func (b *Browser) inspect() {
	b.t.Helper()
	if b.how.Unlooked {
		return
	}
	for _, p := range b.problems() {
		b.t.Errorf("%s: %s", b.Address(), p)
	}
}

// looked holds the kinds of pages that were inspected in this run: one look at each is enough.
var looked sync.Map

// problems of the page.
func (b *Browser) problems() []string {
	b.t.Helper()
	at := b.Address()
	out := b.said(at)
	kind := b.kind(at)
	if _, again := looked.LoadOrStore(kind, true); again {
		return out
	}
	out = append(out, b.shapeProblems()...)
	if b.how.NoScript { // axe is a script
		return out
	}
	if _, err := step(b, chromedp.Evaluate[chromedp.Void](axe)); err != nil {
		b.do("load axe", err)
	}
	for _, dark := range []bool{b.how.Dark, !b.how.Dark} {
		b.scheme(dark)
		out = append(out, b.axe(dark)...)
	}
	b.scheme(b.how.Dark)
	return append(out, b.said(at)...)
}

var variable = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)

// kind of a page: what one look is enough for.
func (b *Browser) kind(at string) string {
	b.t.Helper()
	title, err := step(b, chromedp.Evaluate[string](`document.title + "|" + document.documentElement.lang + "|" + [...document.querySelectorAll("h1, h2, form, label")].map(e => e.tagName + e.getAttribute("for")).join()`))
	b.do("read the title", err)
	u, err := url.Parse(at)
	b.do("read the address", err)
	return fmt.Sprint(u.Port(), b.how.NoScript, variable.ReplaceAllString(u.Path, "*"), title, b.status)
}

// axe runs the rules of WCAG 2.2 level AA and the best practices.
func (b *Browser) axe(dark bool) (out []string) {
	b.t.Helper()
	found, err := step(b, chromedp.Evaluate[[]string](`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r =>
		r.violations.map(v => v.id + ": " + v.help + "\n" + v.nodes.map(n => "\t\t" + n.html + "\n\t\t" + n.failureSummary.replace(/\n/g, "\n\t\t")).join("\n")))`, chromedp.EvalAwaitPromise))
	b.do("run axe", err)
	for _, f := range found {
		out = append(out, fmt.Sprintf("axe (dark %v) %s", dark, f))
	}
	return out
}

// shapeProblems looks at what the platform's rules do not: the width of a small phone, the language, one main and one h1.
func (b *Browser) shapeProblems() (out []string) {
	b.t.Helper()
	b.shape(320, 640)
	wide, err := step(b, chromedp.Evaluate[[]string](`(() => {
		const out = [], w = document.documentElement;
		if (w.scrollWidth > 320) {
			const far = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > 321);
			out.push("scrolls sideways at 320 px, to " + w.scrollWidth + ": " + far.slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join(" … "));
		}
		if (!w.lang) out.push("no language");
		if (!w.dir) out.push("no direction");
		if (document.querySelectorAll("main").length !== 1) out.push("not one main");
		if (document.querySelectorAll("h1").length !== 1) out.push("not one h1");
		for (const e of document.querySelectorAll("script:not([src]), style, [style]")) out.push("inline code: " + e.outerHTML.slice(0, 120));
		for (const e of document.querySelectorAll("main button, main .button, main input:not([type=hidden]):not([type=radio]):not([type=checkbox])")) {
			const r = e.getBoundingClientRect();
			if (e.checkVisibility() && r.height < 43.5) out.push("a target of " + Math.round(r.height) + " px: " + e.outerHTML.slice(0, 120));
		}
		return out })()`))
	b.do("look at the shape", err)
	b.shape(b.how.Width, b.how.Height)
	if lang := b.how.lang(); !b.langIs(lang) {
		out = append(out, "the page is not in the language of the visit, "+lang)
	}
	return append(out, wide...)
}

func (b *Browser) langIs(lang string) bool {
	b.t.Helper()
	got, err := step(b, chromedp.Evaluate[string](`document.documentElement.lang`))
	b.do("read the language", err)
	return got == lang
}
