// Package call owns one HTTP request to a message gateway: its limits, and what its end means for the message. Enter with
// Client and Do. It refuses redirects, which could carry a code to another host, and answers beyond 64 KiB.
package call

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// Most bytes of an answer that are read.
const Most = 64 << 10

// Client returns a client with its own connections, a bulkhead against other vendors. roots nil = those of the system.
func Client(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second, // the caller's context is shorter; this is the floor under a forgotten one
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    3 * time.Second,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

// Answer of a gateway.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // cut at Most
}

// Do sends r. A request that never got a connection certainly did not go out; after that nobody can tell.
func Do(c *http.Client, r *http.Request) (Answer, *notify.Failure) {
	var connected atomic.Bool
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	resp, err := c.Do(r)
	if err != nil {
		err = bare(err)
		if connected.Load() {
			return Answer{}, notify.Unsure(err)
		}
		return Answer{}, notify.NotSent(err, true)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, Most))
	if err != nil {
		return Answer{}, notify.Unsure(fmt.Errorf("status %d, then: %w", resp.StatusCode, bare(err)))
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// bare removes the address from an error of the client: it may carry the number, the text and a key of the vendor.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Failure is what a status that means no success says about the message; the body is the vendor's and stays out of the log.
func (a Answer) Failure() *notify.Failure {
	err := fmt.Errorf("status %d", a.Status)
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable:
		return notify.Busy(err, a.retryAfter())
	case a.Status == http.StatusGatewayTimeout: // something behind the gateway may have taken it
		return notify.Unsure(err)
	case a.Status/100 == 3:
		return notify.NotSent(fmt.Errorf("status %d: redirects are refused", a.Status), false)
	}
	return notify.NotSent(err, false)
}

// retryAfter reads the seconds of RFC 9110 §10.2.3; a date is not worth a clock comparison with a vendor.
func (a Answer) retryAfter() time.Duration {
	n, err := strconv.ParseUint(a.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
