package program

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker in releases: -ldflags "-X github.com/kapi-id/kapi/cmd/kapi/program.version=v1.2.3".
var version = "dev"

type versionCmd struct{}

func (versionCmd) Help() string { return "Example:\n  kapi version" }

func (versionCmd) Run(con *console) error {
	_, err := fmt.Fprintf(con.out, "kapi %s, commit %s, %s\n", version, commit(), runtime.Version())
	return err
}

// commit is the revision the binary was built from, "unknown" where the build had none.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return rev + dirty
}
