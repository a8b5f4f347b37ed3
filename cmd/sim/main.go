// Command sim starts one of the outside parties that Kapi talks to, simulated, for a laptop or a test. See sim --help.
// It refuses nothing and protects nothing: it belongs on loopback.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kapi-id/kapi/internal/sim/operator"
	"github.com/kapi-id/kapi/internal/sim/phone"
)

type cli struct {
	Phone    phoneCmd    `cmd:"" help:"A phone: takes messages from inbox gateways and shows them on a page."`
	Operator operatorCmd `cmd:"" help:"A mobile operator: answers the CAMARA SIM Swap API and tells of changed SIM cards."`
	Push     pushCmd     `cmd:"" help:"A push service: gives out Web Push subscriptions and lists what arrives."`
}

func main() {
	parser, err := newParser()
	if err != nil {
		panic(err) // the command line is part of the program
	}
	k, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}

func newParser(more ...kong.Option) (*kong.Kong, error) {
	return kong.New(&cli{}, append(more, kong.Name("sim"), kong.UsageOnError(), kong.Description(
		`The outside parties of Kapi, simulated.

Example: sim phone --listen 127.0.0.1:8082

The server that sends to it: KAPI_SMS=inbox:http://127.0.0.1:8082 kapi serve`))...)
}

type operatorCmd struct {
	Listen    string           `default:"127.0.0.1:8083" placeholder:"HOST:PORT" help:"Where to listen."`
	Client    string           `default:"kapi" placeholder:"ID" help:"Client id of whoever may ask."`
	Secret    string           `default:"secret" placeholder:"SECRET" help:"Its secret."`
	Sink      string           `placeholder:"URL" help:"Where changes are told; nowhere without it."`
	SinkToken string           `placeholder:"TOKEN" help:"Bearer token sent there."`
	Trouble   operator.Trouble `default:"none" enum:"none,down,slow,401,404,422,429,500,null,garbage,other,notoken" help:"How to fail: ${enum}. The page has the same switches."`
}

func (c *operatorCmd) Help() string {
	return `GET / is a page on which a SIM card is changed; POST /token and /sim-swap/v2/retrieve-date and /check are the API.

Example: sim operator --listen 127.0.0.1:8083 --trouble slow

The server that asks it: KAPI_SIM_SWAP=http://kapi:secret@127.0.0.1:8083/sim-swap/v2#token=http://127.0.0.1:8083/token kapi serve`
}

func (c *operatorCmd) Run(ctx context.Context) error {
	o := operator.New(operator.Config{Client: c.Client, Secret: c.Secret, Sink: c.Sink, SinkToken: c.SinkToken})
	if err := o.Set(c.Trouble); err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	fmt.Printf("mobile operator on http://%s\n", l.Addr())
	return serve(ctx, l, o)
}

type phoneCmd struct {
	Listen  string        `default:"127.0.0.1:8082" placeholder:"HOST:PORT" help:"Where to listen."`
	Trouble phone.Trouble `default:"none" enum:"none,refuse,hang,500,429,lost,duplicate" help:"How to fail: ${enum}. The page has the same switches."`
}

func (c *phoneCmd) Help() string {
	return `Messages arrive by POST /inbox; GET / is a page, GET /inbox?to=%2B905550000001 a JSON list.

Example: sim phone --listen 127.0.0.1:8082 --trouble hang`
}

func (c *phoneCmd) Run(ctx context.Context) error {
	p := phone.New(phone.Config{})
	if err := p.Set(c.Trouble); err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	fmt.Printf("phone on http://%s\n", l.Addr())
	return serve(ctx, l, p)
}

// serve answers until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(last) != nil {
			_ = s.Close() // a hanging answer is part of the simulation
		}
	})
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
