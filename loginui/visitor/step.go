package visitor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/loginui/page"
)

// stepView is what the host page of a factor shows around the factor's own part.
type stepView struct {
	Action  string    // the form posts to
	Again   string    // sending again posts to; "" = this factor does not send
	Resend  time.Time // from when on; zero = not now
	Later   bool      // Resend is still ahead
	Sent    bool      // it was just sent again
	Trouble string    // sentence; the factor cannot do its work now
	Others  []way
	First   bool
	Forgot  string // where who forgot the password goes; "" = it is no password
	Lost    string // where the loss of the registered device is said; "" = there is none to lose
}

// way is one factor on offer.
type way struct{ Name, Path string }

// factor is the one that the address names, or the one that is shown at the beginning.
func (t *turn) factor() string {
	if t.first != "" {
		return t.first
	}
	return mux.Vars(t.r)["factor"]
}

func (t *turn) showFactor() error {
	ch, step, err := t.flow.Begin(t.r.Context(), t.t, t.visit, t.factor())
	return t.challenge(http.StatusOK, ch, step, err, nil)
}

// challenge shows what a factor wants, with what was wrong about the last answer.
func (t *turn) challenge(status int, ch factors.Challenge, step signin.Step, begun, answered error) error {
	name := t.factor()
	host := stepView{Action: t.path("with/" + name), First: step.Do == signin.AskFirst, Others: t.others(step, name), Lost: t.lostPath(step)}
	if host.First && name == "password" && t.forgot != nil {
		host.Forgot = t.forgot(t.t.ID)
	}
	v := t.view()
	v.Err = answered
	switch {
	case answered != nil:
		v.Values = t.r.PostForm
	case host.First:
		v.Values = hinted(t.t.Ask.LoginHint)
	}
	if begun != nil {
		if f := fault.Of(begun); f.Kind == fault.Internal || f.Kind == fault.Conflict || f.Kind == fault.NotFound {
			return begun
		}
		f := t.pages.Settle(t.w, t.r, begun)
		host.Trouble = t.pages.Sentence(v.Lang, f)
		v.Data, v.Err = host, nil
		return t.pages.Render(t.w, t.r, page.Status(f), "visitor/trouble", v)
	}
	if ch.Leave != "" {
		t.redirect(ch.Leave)
		return nil
	}
	if ch.Page == nil {
		return errors.New("factor " + name + " neither shows a page nor leaves")
	}
	if _, ok := t.flow.Factors.Get(name).(factors.Resender); ok && !ch.Page.Resend.IsZero() {
		host.Again, host.Resend, host.Later = t.path("with/"+name+"/again"), ch.Page.Resend, ch.Page.Resend.After(t.flow.Now())
	}
	host.Sent = answered == nil && t.r.URL.Query().Has("sent")
	if ch.Page.Trouble != "" {
		host.Trouble = t.pages.Sentence(v.Lang, fault.New(fault.Unavailable, ch.Page.Trouble))
	}
	v.Host, v.Data, v.Refresh = host, ch.Page.Data, ch.Wait
	return t.pages.Render(t.w, t.r, status, page.In(Host, name+"/page"), v)
}

// hinted fills in the ID number a client knows (OpenID Connect Core §3.1.2.1, login_hint). Whatever else a client sends
// for a hint is dropped, so that no page shows text of its choice.
func hinted(hint string) url.Values {
	n, err := account.ParseNationalID(hint)
	if err != nil {
		return nil
	}
	return url.Values{"national_id": {string(n)}}
}

// others are the ways on offer besides the one that is shown.
func (t *turn) others(step signin.Step, shown string) (out []way) {
	for _, name := range step.Offers {
		if name != shown {
			out = append(out, way{Name: name, Path: t.path("with/" + name)})
		}
	}
	return out
}

func (t *turn) takeAnswer() error {
	ctx, name := t.r.Context(), t.factor()
	now, step, out, err := t.flow.Answer(ctx, t.t, t.visit, name, factors.Answer(t.r.PostForm))
	if err == nil {
		return t.next(now, step, out, nil)
	}
	status, ok, shown := t.mendable(name, err)
	if !ok {
		return err
	}
	ch, step, begun := t.flow.Begin(ctx, t.t, t.visit, name)
	return t.challenge(status, ch, step, begun, shown)
}

// mendable says what a failed answer reads like on the page it came from, and whether it belongs there at all. A wrong
// first factor is one sentence, whatever was wrong; which field it names tells nothing.
func (t *turn) mendable(name string, err error) (status int, ok bool, shown error) {
	f := fault.Of(err)
	switch f.Kind {
	case fault.Internal, fault.NotFound, fault.Conflict:
		return 0, false, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, false, nil
	}
	if errors.Is(err, factors.ErrWrong) {
		return http.StatusUnprocessableEntity, true, wrong(t.flow.Factors.Get(name), f, t.r.PostForm)
	}
	f = t.pages.Settle(t.w, t.r, err)
	if f.Kind == fault.Invalid {
		return http.StatusUnprocessableEntity, true, f
	}
	return page.Status(f), true, f
}

// wrong makes a new fault each time: factors.ErrWrong is shared and must not be written to.
func wrong(x factors.Factor, f *fault.Error, form url.Values) error {
	if x.Info().Stage == factors.First {
		return fault.New(fault.Denied, "signin.wrong").In(firstField(form))
	}
	if f.Key == factors.ErrWrong.Key {
		return fault.New(fault.Denied, "signin.wrong_code").In("code")
	}
	return f
}

// firstField is where the summary of a wrong first factor leads: the ID number, if the form asks for one.
func firstField(form url.Values) string {
	if form.Has("national_id") {
		return "national_id"
	}
	return ""
}

// showState tells the page's script whether what it waits for is there.
func (t *turn) showState() error {
	over, err := t.flow.Over(t.r.Context(), t.t, t.visit, t.factor())
	if err != nil {
		return err
	}
	t.w.Header().Set("Content-Type", "application/json")
	t.w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(t.w).Encode(map[string]bool{"over": over})
}

func (t *turn) sendAgain() error {
	ctx, name := t.r.Context(), t.factor()
	err := t.flow.Again(ctx, t.t, t.visit, name)
	if err == nil {
		t.redirect(t.path("with/"+name) + "?sent=1")
		return nil
	}
	status, ok, shown := t.mendable(name, err)
	if !ok {
		return err
	}
	ch, step, begun := t.flow.Begin(ctx, t.t, t.visit, name)
	return t.challenge(status, ch, step, begun, shown)
}

// refererPath is the path the request came from, if it came from this site. Only the path is compared, with paths of ours.
func refererPath(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil {
		return ""
	}
	return u.Path
}
