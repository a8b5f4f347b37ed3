package factortest

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
)

// word is the smallest factor there is: everybody's answer is "open sesame".
type word struct{ now func() time.Time }

func (word) Info() factors.Info {
	return factors.Info{Name: "word", Stage: factors.Second, Tries: factors.Tries{Free: 3, First: time.Second, Most: time.Minute}}
}

func (word) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}

func (w word) Verify(_ context.Context, try factors.Try, a factors.Answer) (factors.Proof, error) {
	if a.Get("word") != "open sesame" {
		return factors.Proof{}, factors.ErrWrong
	}
	return factors.Proof{Factor: "word", Account: try.Account, Stage: factors.Second, Kinds: factors.Know, Channel: "here",
		Level: acr.Low, AMR: []string{"pwd"}, At: w.now()}, nil
}

func (word) Pages() fs.FS {
	return fstest.MapFS{
		"page.html":  {Data: []byte(`{{define "heading"}}{{t "word.ask"}}{{end}}{{define "factor-page"}}<input name="word">{{end}}`)},
		"words.json": {Data: []byte(`{"factor.word":{"tr":"Söz","en":"Word"},"word.ask":{"tr":"Söyle","en":"Say it"}}`)},
	}
}

func TestASmallFactorPasses(t *testing.T) {
	Run(t, func(t *testing.T, kit *Kit) Subject {
		return Subject{Factor: word{now: kit.Clock.Now}, Account: "a1",
			Right: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"word": {"open sesame"}} },
			Wrong: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"word": {"open barley"}} }}
	})
}

func TestFakesKeepTheContractOfStores(t *testing.T) {
	ctx, kit := t.Context(), NewKit(Start)
	k := kit.Factors()

	a, err := k.Credentials.Create(ctx, factors.Credential{Account: "a1", Handle: "h", Counter: 5})
	if err != nil || a.ID == "" || a.Version != 1 || !a.CreatedAt.Equal(Start) {
		t.Fatalf("Create = %+v, %v", a, err)
	}
	if _, err := k.Credentials.Create(ctx, factors.Credential{Account: "a2", Handle: "h"}); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("a taken handle: %v", err)
	}
	a.State = "active"
	if err := k.Credentials.Update(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := k.Credentials.Update(ctx, a); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("an old version was written: %v", err)
	}
	for to, want := range map[int64]bool{4: false, 5: false} {
		if err := k.Credentials.Advance(ctx, a.ID, to); (err == nil) != want {
			t.Errorf("Advance to %d: %v", to, err)
		}
	}
	if err := k.Credentials.Advance(ctx, a.ID, 6); err != nil {
		t.Error(err)
	}
	if rows, _ := k.Credentials.Of(ctx, ""); len(rows) != 0 {
		t.Error("nobody has credentials")
	}

	first, err := k.Tickets.Open(ctx, factors.Ticket{Binding: "b", Purpose: factors.SignIn, ExpiresAt: Start.Add(time.Minute)},
		&factors.Message{Text: "123456"})
	if err != nil || len(kit.Phone.Sent()) != 1 {
		t.Fatalf("Open: %v, %d sent", err, len(kit.Phone.Sent()))
	}
	second, err := k.Tickets.Open(ctx, factors.Ticket{Binding: "b", Purpose: factors.SignIn, ExpiresAt: Start.Add(time.Minute)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Tickets.Try(ctx, first.ID, 5); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a replaced ticket took a try: %v", err)
	}
	if got, err := k.Tickets.Try(ctx, second.ID, 1); err != nil || got.Tries != 1 {
		t.Errorf("Try = %+v, %v", got, err)
	}
	if _, err := k.Tickets.Try(ctx, second.ID, 1); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a second try of one: %v", err)
	}
	if err := k.Tickets.Use(ctx, second.ID); err != nil {
		t.Error(err)
	}
	if err := k.Tickets.Use(ctx, second.ID); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("used twice: %v", err)
	}
	if _, err := k.Tickets.Find(ctx, "b", factors.SignIn); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("a used ticket: %v", err)
	}
	third, _ := k.Tickets.Open(ctx, factors.Ticket{Binding: "b", Purpose: factors.SignIn, ExpiresAt: Start.Add(time.Minute)}, nil)
	kit.Clock.Advance(time.Minute)
	if _, err := k.Tickets.Find(ctx, "b", factors.SignIn); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("an expired ticket is found: %v", err)
	}
	if _, err := k.Tickets.Try(ctx, third.ID, 5); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("an expired ticket took a try: %v", err)
	}
}
