package visitor

import (
	"net/http"
	"slices"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/loginui/page"
)

// chooseView is the Data of choose.html.
type chooseView struct {
	Action string
	First  bool
	Ways   []way
	Lost   string // as in stepView
}

// accountView is the Data of account.html.
type accountView struct{ Action, Person, Initial string }

// explainView is the Data of explain.html.
type explainView struct {
	Action  string
	Reason  string   // of signin.Step
	Refused bool     // going on means going back with an error
	Ways    []string // stronger first factors that reach what is needed
}

// consentView is the Data of consent.html.
type consentView struct {
	Action      string
	Institution string
	Scopes      []string // those that a person is told about, in our order
	Offline     bool
}

// owing shows a page only while its step is owed; else it goes to what is.
func (t *turn) owing(show func(signin.Step) error, does ...signin.Do) error {
	now, step, out, err := t.flow.Owed(t.r.Context(), t.t, t.visit)
	if err != nil {
		return err
	}
	if now.State != signin.Open || !slices.Contains(does, step.Do) {
		return t.next(now, step, out, nil)
	}
	t.t = now
	return show(step)
}

func (t *turn) showWays() error {
	return t.owing(func(step signin.Step) error {
		return t.render(http.StatusOK, "visitor/choose", chooseView{Action: t.path("choose"), First: step.Do == signin.AskFirst, Ways: t.others(step, ""), Lost: t.lostPath(step)})
	}, signin.AskFirst, signin.AskSecond)
}

func (t *turn) takeWay() error {
	return t.next(t.flow.Prefer(t.r.Context(), t.t, t.visit, t.r.PostForm.Get("method")))
}

func (t *turn) showAccount() error {
	return t.owing(func(signin.Step) error {
		p, err := t.flow.Accounts.Person(t.r.Context(), t.t.Account)
		if err != nil {
			return err
		}
		name := page.Service{Name: p.Name()}
		return t.render(http.StatusOK, "visitor/account", accountView{Action: t.path("account"), Person: p.Name(), Initial: name.Initial()})
	}, signin.ChooseAccount)
}

func (t *turn) takeAccount() error {
	same := t.r.PostForm.Get("account") == "same"
	return t.next(t.flow.Choose(t.r.Context(), t.t, t.visit, same))
}

func (t *turn) showReason() error {
	return t.owing(func(step signin.Step) error {
		return t.render(http.StatusOK, "visitor/explain", explainView{Action: t.path("explain"), Reason: step.Reason, Refused: step.Refusal.Error != "", Ways: step.Offers})
	}, signin.Explain)
}

func (t *turn) takeReason() error {
	if method := t.r.PostForm.Get("method"); method != "" {
		return t.next(t.flow.Stronger(t.r.Context(), t.t, t.visit, method))
	}
	return t.next(t.flow.Accept(t.r.Context(), t.t, t.visit))
}

func (t *turn) showRenewal() error { return t.renewal(http.StatusOK, nil) }

func (t *turn) renewal(status int, answered error) error {
	p, name, err := t.flow.RenewPage(t.r.Context(), t.t, t.visit)
	if err != nil {
		return err
	}
	v := t.view()
	v.Err, v.Data, v.Host = answered, p.Data, stepView{Action: t.path("renew")}
	return t.pages.Render(t.w, t.r, status, page.In(Host, name+"/renew"), v)
}

func (t *turn) takeRenewal() error {
	if t.r.PostForm.Get("keep") != "" {
		return t.next(t.flow.Keep(t.r.Context(), t.t, t.visit))
	}
	now, step, out, err := t.flow.Renew(t.r.Context(), t.t, t.visit, factors.Answer(t.r.PostForm))
	f := fault.Of(err)
	if err == nil || f.Field == "" && f.Kind != fault.Unavailable {
		return t.next(now, step, out, err)
	}
	f = t.pages.Settle(t.w, t.r, err)
	status := http.StatusUnprocessableEntity
	if f.Kind == fault.Unavailable {
		status = page.Status(f)
	}
	return t.renewal(status, f)
}

// told are the scopes whose data a person is told about; openid says no more than that somebody signs in.
var told = []string{"profile", "national_id", "email", "phone", "address"}

func (t *turn) showConsent() error {
	return t.owing(func(step signin.Step) error {
		d := consentView{Action: t.path("consent"), Offline: slices.Contains(step.Scopes, "offline_access")}
		if t.client.Institution != t.client.DisplayName("") {
			d.Institution = page.Clean(t.client.Institution, 80)
		}
		for _, s := range told {
			if slices.Contains(step.Scopes, s) {
				d.Scopes = append(d.Scopes, s)
			}
		}
		return t.render(http.StatusOK, "visitor/consent", d)
	}, signin.AskConsent)
}

func (t *turn) takeConsent() error {
	answer := t.r.PostForm.Get("consent")
	if answer != "yes" && answer != "no" {
		return fault.New(fault.Invalid, "")
	}
	return t.next(t.flow.AnswerConsent(t.r.Context(), t.t, t.visit, answer == "yes"))
}
