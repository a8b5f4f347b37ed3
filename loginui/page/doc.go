// Package page owns what all pages share: the layout and its components, the assets, the language, the security headers,
// the one way to mount a form, and the one function that turns an error into status, page and log line. Enter with New,
// Pages.Render, Pages.Fault, Pages.Get and Pages.Post. It refuses to start with a template that does not parse, escape or
// run, with a word key, an asset or a component that does not exist, and it refuses a form sent from another origin.
//
// # Pages
//
// A Source is a folder of templates (*.html) with a name; the page of loginui/visitor/consent.html is called
// "visitor/consent". A page file consists of definitions only:
//
//	{{define "heading"}}…{{end}}   words of the h1 and of the title; text, no markup
//	{{define "main"}}…{{end}}      what stands below the heading
//	{{define "head"}}…{{end}}      optional: what the document's head has besides, such as a manifest
//
// Definitions are private to their file; one with the name of a shared component (layout/components.html,
// layout/icons.html) takes its place on that page. A style.css and a script.js (an ES module) in the folder of a source are linked from its pages.
//
// # Pages of factors
//
// The page.html (and renew.html) of a factor has no "main": a host wraps it, such as visitor/step, which gives the service strip, the
// heading, the error summary, the form with its submit button, sending again, the other ways and the way back. A factor
// defines:
//
//	{{define "heading"}}…{{end}}          required, as above
//	{{define "factor-page"}}…{{end}}      required: the fields inside the host's form. No form, no submit button, no h1
//	{{define "factor-submit"}}…{{end}}    optional: the words on the button, else "Continue"
//	{{define "factor-button"}}…{{end}}    optional: {{if .Data.Open}}{{template "submit" .}}{{end}} where there may be nothing to send
//	{{define "factor-below"}}…{{end}}     optional: list items (<li><a …>) among the links below the form
//	{{define "factor-again"}}…{{end}}     optional: the words of what sends once more, and of what then was sent ("factor-sent"),
//	{{define "factor-help"}}…{{end}}      where that is no code; list items of help beside it
//
// Further pages of a factor, on which people set it up (factors.Enroller: manage.html and those its acts show), define "heading" and
// "factor-main" instead; a host such as citizen/factor gives the way back. Their forms are their own and post to
// {{.Host.Path}}/ACT.
//
// # What a template sees
//
//	.Data            the page's own struct (of a factor: factors.Page.Data)
//	.Host            what the host of a factor's page needs; factors leave it alone
//	.Lang .Dir       "tr", "ltr"
//	.Service.Name    of the service being entered; .Service may be nil
//	.Value "code"    what was typed into a field before the form failed; never a secret
//	.Problem "code"  the sentence about a field, "" if there is none
//
//	{{t "sms.sent" "ending" .Data.Ending}}   a sentence of the catalogue, the key written out, with all its placeholders
//	{{tk .Key "n" 3}}                        the same with a computed key, which nobody can check at the start
//	{{template "input" (field . "code" "label" "sms.code" "class" "code")}}
//	{{date .At}} {{clock .At}} {{stamp .At}} {{seconds .At}} {{asset "page/mark.svg"}} {{template "icon-check"}}
//
// field takes pairs: label (a key, required), hint (a key), type, class ("code" for short digits), autocomplete, inputmode,
// maxlength, value (else what was typed), reveal ("show": hidden until shown, "hide": shown until hidden; an
// enhancement, a page without script has no button), optional ("yes"). Its id is its name, so that the error summary can
// link to it.
//
// A moment that passes is shown as a clock time, which a script turns into a countdown:
//
//	<p data-seconds="{{seconds .Data.ExpiresAt}}" data-left="{{t "sms.valid_for" "time" "{time}"}}"
//	   data-over="{{t "sms.over"}}">{{t "sms.valid_until" "time" (clock .Data.ExpiresAt)}}</p>
package page
