package factors

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/kapi-id/kapi/internal/acr"
)

type fake struct {
	info  Info
	files fstest.MapFS
}

func (f fake) Info() Info                                         { return f.info }
func (f fake) Begin(context.Context, Try) (Challenge, error)      { return Challenge{}, nil }
func (f fake) Verify(context.Context, Try, Answer) (Proof, error) { return Proof{}, ErrWrong }
func (f fake) Pages() fs.FS                                       { return f.files }

func named(name string, stage Stage, order int) fake {
	return fake{Info{Name: name, Stage: stage, Order: order}, fstest.MapFS{"page.html": {}, "words.json": {}}}
}

func TestRegistry(t *testing.T) {
	r, err := NewRegistry(named("sms", Second, 2), named("card", First, 2), named("password", First, 1), named("device", Second, 1))
	if err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, f := range r.All(0) {
		order += f.Info().Name + " "
	}
	if order != "password card device sms " {
		t.Errorf("offered as %s", order)
	}
	if len(r.All(Second)) != 2 || r.Get("card") == nil || r.Get("none") != nil {
		t.Error("found wrongly")
	}
	bare := named("sms", Second, 1)
	bare.files = fstest.MapFS{"page.html": {}}
	for name, list := range map[string][]Factor{
		"twice":    {named("sms", Second, 1), named("sms", Second, 2)},
		"stage":    {named("sms", 0, 1)},
		"name":     {named("SMS", Second, 1)},
		"no name":  {named("", Second, 1)},
		"no words": {bare},
	} {
		if _, err := NewRegistry(list...); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

func TestHighest(t *testing.T) {
	card := named("card", First, 2)
	card.info.Level = acr.High
	for name, tc := range map[string]struct {
		list []Factor
		want acr.Level
	}{
		"nothing":                 {nil, acr.None},
		"no first":                {[]Factor{named("sms", Second, 1)}, acr.None},
		"a first alone":           {[]Factor{named("password", First, 1)}, acr.Low},
		"one of each":             {[]Factor{named("password", First, 1), named("sms", Second, 1)}, acr.Substantial},
		"a stronger first":        {[]Factor{named("password", First, 1), card}, acr.High},
		"a stronger first beside": {[]Factor{card, named("sms", Second, 1)}, acr.High},
	} {
		r, err := NewRegistry(tc.list...)
		if err != nil || r.Highest() != tc.want {
			t.Errorf("%s: %v %v", name, r.Highest(), err)
		}
	}
}
