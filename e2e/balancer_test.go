package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
)

// balancer goes round the replicas, request by request, and passes over one that does not take the connection, as any
// load balancer would.
func (c *Country) balancer() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "unset"
		},
		Transport: round{c, &http.Transport{MaxIdleConnsPerHost: 8}},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
}

type round struct {
	c    *Country
	next http.RoundTripper
}

func (t round) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errors.New("every replica is dead")
	for range t.c.replicas {
		replica := t.c.replicas[int(t.c.turn.Add(1))%len(t.c.replicas)]
		if replica.dead.Load() {
			continue
		}
		out := r.Clone(r.Context())
		out.URL.Host = replica.address
		if r.Body != nil {
			// Taken in whole first, as balancers do with a form. A body that is still being read when the answer begins makes the transport of
			// this version of Go cut the answer now and then (golang/go#40747).
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			out.Body = io.NopCloser(bytes.NewReader(body))
		}
		replica.served.Add(1)
		return t.next.RoundTrip(out)
	}
	return nil, err
}

// Kill ends a replica as the kernel does when memory is short: kill -9, without a word.
func (c *Country) Kill(i int) {
	c.t.Helper()
	if c.replicas[i].served.Load() == 0 {
		c.t.Fatalf("replica %d never served: its death would show nothing", i)
	}
	c.replicas[i].kill()
}
