package sms

import (
	"embed"
	"io/fs"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/code"
)

//go:embed pages
var files embed.FS

// New returns the factor over its kit.
func New(kit factors.Kit) *code.Factor {
	pages, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err)
	}
	return code.New(kit, code.Way{
		Info:     factors.Info{Name: "sms", Order: 50, YieldsTo: []string{"device", "messenger"}},
		Channels: []string{"sim", "sms"}, AMR: []string{"sms"}, Fallback: true, Pages: pages,
	})
}
