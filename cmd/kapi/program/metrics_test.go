package program_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// away is a gateway that can be out of reach, and then knows it.
type away struct {
	testkapi.Phone
	gone atomic.Bool
}

func (a *away) Ready() bool { return !a.gone.Load() }

var _ notify.Ready = (*away)(nil)

// What the alerts watch has the right values where Prometheus reads them: on a listener of its own, and nowhere else.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	gateway := &away{}
	main, metrics := freeAddress(t), freeAddress(t)
	k := testkapi.Start(t, testkapi.Options{
		Gateway: gateway, Password: password.Options{Limits: password.Limits{Slots: 3, Queue: 5, Wait: time.Second, Retry: time.Second}},
		Settings: map[string]string{"LISTEN": main, "METRICS_LISTEN": metrics},
	})
	k.People(people)
	rp := k.RP("ssi", nil)
	k.Quiet() // what is sent waits until Serve works in the background
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": "not this one"}).See(wrongSignIn)
	b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	gateway.gone.Store(true)
	k.Clock.Add(42 * time.Second)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.App().Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	read := func() (values map[string]string) {
		values = map[string]string{}
		resp, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return values // it is just starting
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
				values[line[:i]] = strings.TrimSpace(line[i:])
			}
		}
		if resp.StatusCode != http.StatusOK || len(values) < 50 {
			t.Errorf("%d, %d values", resp.StatusCode, len(values))
		}
		return values
	}
	eventually(t, "the message is 42 s old", func() bool { return read()["kapi_outbox_age_seconds"] == "42" })
	gateway.gone.Store(false)
	b.Submit(map[string]string{"code": gateway.Code(t, aysePhone, 1)})
	rp.Answer(b)
	eventually(t, "no message waits", func() bool { return read()["kapi_outbox_age_seconds"] == "0" })
	got := read()
	for name, want := range map[string]string{
		`kapi_hash_slots`:       "3",
		`kapi_hash_slots_used`:  "0",
		`kapi_hash_slots_queue`: "0",
		`kapi_factor_answers_total{client="ssi",factor="password",outcome="wrong"}`:               "1",
		`kapi_factor_answers_total{client="ssi",factor="password",outcome="ok"}`:                  "1",
		`kapi_factor_answers_total{client="ssi",factor="sms",outcome="ok"}`:                       "1",
		`kapi_protocol_answers_total{client="ssi",outcome="ok",what="authorize"}`:                 "1",
		`kapi_protocol_answers_total{client="ssi",outcome="ok",what="authorization_code"}`:        "1",
		`kapi_messages_total{channel="sms",gateway="phone",outcome="sent"}`:                       "1",
		`kapi_gateway_seconds_count{gateway="phone"}`:                                             "1",
		`kapi_gateway_up{gateway="phone"}`:                                                        "1",
		`kapi_request_seconds_count{code="303",method="GET",route="/authorize"}`:                  "1",
		`kapi_request_seconds_count{code="422",method="POST",route="/signin/{id}/with/{factor}"}`: "1",
		`kapi_request_seconds_count{code="200",method="POST",route="/oauth/token"}`:               "1",
		`kapi_request_seconds_bucket{code="200",method="POST",route="/oauth/token",le="+Inf"}`:    "1",
		`kapi_password_refused_total`:                                                             "0",
	} {
		if got[name] != want || want == "" {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	number := func(name string) float64 {
		n, err := strconv.ParseFloat(got[name], 64)
		if err != nil {
			t.Errorf("%s: %q", name, got[name])
		}
		return n
	}
	if n := number("kapi_password_hashes_total"); int64(n) != k.Hashes.Load() || n < 2 {
		t.Errorf("%v hashes, %d were made", n, k.Hashes.Load())
	}
	if n := number(`kapi_request_seconds_sum{code="200",method="POST",route="/oauth/token"}`); n <= 0 || n > 15 {
		t.Errorf("the token took %v s", n)
	}
	if n := number(`kapi_database_statements_total{kind="write"}`); n < 10 {
		t.Errorf("%v writes", n)
	}
	for _, address := range []string{k.URL, "http://" + main} {
		if r := send(t, nil, http.MethodGet, address+"/metrics", nil); r.Status != http.StatusNotFound {
			t.Errorf("%s/metrics: %d", address, r.Status)
		}
	}
	if r := send(t, nil, http.MethodGet, "http://"+metrics+"/me", nil); r.Status != http.StatusNotFound {
		t.Errorf("a page among the metrics: %d", r.Status)
	}
}
