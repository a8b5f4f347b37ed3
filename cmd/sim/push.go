package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/kapi-id/kapi/internal/sim/push"
)

type pushCmd struct {
	Listen  string       `default:"127.0.0.1:8084" placeholder:"HOST:PORT" help:"Where to listen."`
	Phone   string       `placeholder:"URL" help:"A simulated phone that shows each push, e.g. http://127.0.0.1:8082."`
	Trouble push.Trouble `default:"none" enum:"none,gone,429,500,503,hang,drop,redirect,denied,lost" help:"How to fail: ${enum}. POST /trouble turns the same switch."`
}

func (c *pushCmd) Help() string {
	return `POST /subscribe gives out a Web Push subscription, as a browser would; GET /pushes lists what arrived, decrypted. A real Firefox has its pushes
from here where its dom.push.serverURL is ws://HOST:PORT/line and dom.push.testing.allowInsecureServerURL is true.

Example: sim push --listen 127.0.0.1:8084 --phone http://127.0.0.1:8082

The server that pushes to it: KAPI_PUSH_HOSTS=127.0.0.1 kapi serve`
}

func (c *pushCmd) Run(ctx context.Context) error {
	s := push.New(push.Config{Show: c.show()})
	defer s.Close()
	if err := s.Set(c.Trouble); err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	fmt.Printf("push service on http://%s\n", l.Addr())
	return serve(ctx, l, s)
}

// show posts what arrived to the phone; nil without one.
func (c *pushCmd) show() func(push.Push) {
	if c.Phone == "" {
		return nil
	}
	client := &http.Client{Timeout: 2 * time.Second}
	return func(p push.Push) {
		body, err := json.Marshal(map[string]string{"channel": "push", "from": "KAPI", "to": p.Kind + " …" + p.To[max(0, len(p.To)-8):], "text": cmp.Or(p.Data, "sealed for the browser")})
		if err != nil {
			return
		}
		resp, err := client.Post(c.Phone+"/inbox", "application/json", bytes.NewReader(body))
		if err != nil {
			fmt.Println("the phone does not answer:", err)
			return
		}
		_ = resp.Body.Close()
	}
}
