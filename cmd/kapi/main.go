// Command kapi is the identity provider: the server, its tools and the demo. See kapi --help.
package main

import (
	"os"

	"github.com/kapi-id/kapi/cmd/kapi/program"
)

func main() { os.Exit(program.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
