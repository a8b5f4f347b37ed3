package testkapi

import (
	"context"
	"io/fs"
	"testing/fstest"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
)

// Signature is a program.Lines with a first factor, "signature", that stands for an e-signature: whoever types "signed" has signed, and is who
// the ID number says.
func Signature(kit func(name string) factors.Kit) []factors.Factor {
	return []factors.Factor{signature{kit("signature")}}
}

type signature struct{ kit factors.Kit }

func (signature) Info() factors.Info {
	return factors.Info{Name: "signature", Stage: factors.First, Order: 90, Level: acr.High, Signs: true}
}

func (signature) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}

func (f signature) Verify(_ context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	if answer.Get("signature") != "signed" || try.Account == "" {
		return factors.Proof{}, factors.ErrWrong
	}
	return factors.Proof{Factor: "signature", Account: try.Account, Stage: factors.First, Kinds: factors.Have | factors.Know, Channel: factors.Here, Level: acr.High,
		AMR: []string{"sc", "hwk", "pin"}, At: f.kit.Now()}, nil
}

func (signature) Pages() fs.FS {
	return fstest.MapFS{
		"page.html": {Data: []byte(`{{define "heading"}}{{t "signature.heading"}}{{end}}{{define "factor-page"}}{{template "input" (field . "national_id" "label" "signature.number")}}` +
			`{{template "input" (field . "signature" "label" "signature.sign")}}{{end}}`)},
		"words.json": {Data: []byte(`{"factor.signature":{"tr":"İmza","en":"Signature"},"signature.heading":{"tr":"İmzalayın","en":"Sign"},
			"signature.number":{"tr":"Kimlik numarası","en":"ID number"},"signature.sign":{"tr":"İmza","en":"Signature"}}`)},
	}
}
