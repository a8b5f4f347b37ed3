// Package messenger owns the second factor of persons whose operator and subscription bring messages to a messenger bound to the
// number: six digits in BiP. It is offered while that channel works; else their codes come by SMS.
//
// Enter with New. What it refuses is in package code.
package messenger

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
		Info:     factors.Info{Name: "messenger", Order: 40, YieldsTo: []string{"device"}},
		Channels: []string{"messenger"}, AMR: []string{"oob"}, Pages: pages,
	})
}
