package program

import (
	"context"
	"io"
)

// Demo runs the demo until ctx ends.
func Demo(ctx context.Context, data string, base int, out io.Writer) error {
	return demoCmd{Data: data, ListenBase: base}.Run(ctx, &console{out: out, err: out})
}
