package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/kapi-id/kapi/internal/sim/phone"
)

func TestHelpShowsPartiesWithAnExample(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"phone", "Example: sim phone --listen 127.0.0.1:8082"}},
		{[]string{"operator", "--help"}, []string{"--listen", "127.0.0.1:8083", "--trouble", "Example: sim operator", "KAPI_SIM_SWAP="}},
		{[]string{"push", "--help"}, []string{"--listen", "127.0.0.1:8084", "--trouble", "Example: sim push", "KAPI_PUSH_HOSTS="}},
		{[]string{"phone", "--help"}, []string{"--listen", "127.0.0.1:8082", "--trouble", "Example: sim phone"}},
	} {
		var out strings.Builder
		k, err := newParser(kong.Writers(&out, &out), kong.Exit(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = k.Parse(c.args)
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v lacks %q:\n%s", c.args, want, out.String())
			}
		}
	}
}

func TestServeUntilTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, phone.New(phone.Config{})) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/inbox?to=%2B905550000001")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if strings.TrimSpace(string(body)) != "[]" {
		t.Errorf("%s", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
