package visitor

import (
	"errors"
	"net/http"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/loginui/page"
)

// lostView is the Data of lost.html and lost-done.html.
type lostView struct {
	Action string
	Back   string    // to what is owed
	Due    time.Time // when the device goes
}

// lostFactor is the factor whose page takes the code.
const lostFactor = "sms"

// lostPath is where the loss of the registered device is said; "" where there is none to lose.
func (t *turn) lostPath(step signin.Step) string {
	if t.lost == nil || !t.flow.MayLose(step) {
		return ""
	}
	return t.path("lost")
}

// showLost says what follows. Nothing is sent yet.
func (t *turn) showLost() error {
	if err := t.mayLose(); err != nil {
		return err
	}
	return t.render(http.StatusOK, "visitor/lost", lostView{Action: t.path("lost"), Back: t.path("")})
}

func (t *turn) mayLose() error {
	if t.lost == nil {
		return signin.ErrNotOwed
	}
	return t.flow.Losing(t.r.Context(), t.t, t.visit)
}

func (t *turn) sayLost() error {
	if err := t.mayLose(); err != nil {
		return err
	}
	t.redirect(t.path("lost/code"))
	return nil
}

func (t *turn) showLostCode() error {
	if err := t.mayLose(); err != nil {
		return err
	}
	return t.lostCode(http.StatusOK, nil)
}

// lostCode is the page of the code, with what was wrong with the last one.
func (t *turn) lostCode(status int, answered error) error {
	ch, err := t.flow.BeginLost(t.r.Context(), t.t, t.visit)
	if err != nil {
		return err
	}
	if ch.Page == nil {
		return errors.New("factor " + lostFactor + " shows no page")
	}
	v := t.view()
	host := stepView{Action: t.path("lost/code"), Again: t.path("lost/again"), Resend: ch.Page.Resend, Later: ch.Page.Resend.After(t.flow.Now())}
	if ch.Page.Resend.IsZero() {
		host.Again = ""
	}
	if ch.Page.Trouble != "" {
		host.Trouble = t.pages.Sentence(v.Lang, fault.New(fault.Unavailable, ch.Page.Trouble))
	}
	host.Sent = answered == nil && t.r.URL.Query().Has("sent")
	v.Host, v.Data, v.Err = host, ch.Page.Data, answered
	return t.pages.Render(t.w, t.r, status, page.In(Host, lostFactor+"/page"), v)
}

func (t *turn) takeLostCode() error {
	if err := t.mayLose(); err != nil {
		return err
	}
	ctx := t.r.Context()
	id, err := t.flow.ConfirmLost(ctx, t.t, t.visit, factors.Answer(t.r.PostForm))
	if err != nil {
		status, ok, shown := t.mendable(lostFactor, err)
		if !ok {
			return err
		}
		return t.lostCode(status, shown)
	}
	due, err := t.lost(ctx, id, audit.Event{Actor: string(id), Network: t.visit.Network, Agent: t.visit.Agent, Request: t.visit.Request})
	if err != nil {
		return err
	}
	return t.render(http.StatusOK, "visitor/lost-done", lostView{Back: t.path(""), Due: due})
}

func (t *turn) sendLostAgain() error {
	if err := t.mayLose(); err != nil {
		return err
	}
	err := t.flow.AgainLost(t.r.Context(), t.t, t.visit)
	if err == nil {
		t.redirect(t.path("lost/code") + "?sent=1")
		return nil
	}
	status, ok, shown := t.mendable(lostFactor, err)
	if !ok {
		return err
	}
	return t.lostCode(status, shown)
}
