package program

import (
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
)

// metrics of one server. No label carries anything of a person.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec // route, method, code
	answers   *prometheus.CounterVec   // factor, client, outcome
	protocol  *prometheus.CounterVec   // what, client, outcome
	messages  *prometheus.CounterVec   // channel, gateway, outcome
	closed    *prometheus.CounterVec   // channel, reason
	gateway   *prometheus.HistogramVec // gateway
	up        *prometheus.GaugeVec     // gateway
	outboxAge prometheus.Gauge
	hashes    prometheus.Counter
	refused   prometheus.Counter
	unsealed  prometheus.Gauge
	headAge   prometheus.Gauge
	clockSkew prometheus.Gauge
	swept     prometheus.Counter
}

func newMetrics(slots func() (inUse, queued, limit int), statements *storage.Counter, connections func() int) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.requests = histogram("kapi_request_seconds", "HTTP requests by route.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, "route", "method", "code")
	m.answers = counter("kapi_factor_answers_total", "Answers to factors.", "factor", "client", "outcome")
	m.protocol = counter("kapi_protocol_answers_total", "Answers of the machine endpoints, by grant type or endpoint.", "what", "client", "outcome")
	m.messages = counter("kapi_messages_total", "Calls of message gateways.", "channel", "gateway", "outcome")
	m.closed = counter("kapi_messages_closed_total", "Messages that were given up.", "channel", "reason")
	m.gateway = histogram("kapi_gateway_seconds", "Time of gateway calls.", []float64{.01, .05, .1, .25, .5, 1, 2.5, 5}, "gateway")
	m.up = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kapi_gateway_up", Help: "1 while the breaker of the gateway is closed."}, []string{"gateway"})
	m.registry.MustRegister(m.up)
	m.outboxAge = gauge("kapi_outbox_age_seconds", "How long the oldest due message has waited.")
	hashes, refused := counter("kapi_password_hashes_total", "Password hashes computed."), counter("kapi_password_refused_total", "Sign-ins refused because no hash slot came free.")
	m.hashes, m.refused = hashes.WithLabelValues(), refused.WithLabelValues()
	m.unsealed = gauge("kapi_audit_unsealed", "Audit entries that are not chained yet.")
	m.headAge = gauge("kapi_audit_head_age_seconds", "Time since the audit chain grew.")
	m.clockSkew = gauge("kapi_clock_skew_seconds", "This machine's clock minus the database's.")
	m.swept = counter("kapi_swept_rows_total", "Expired rows deleted.").WithLabelValues()
	for name, pick := range map[string]func(inUse, queued, limit int) int{
		"kapi_hash_slots_used":  func(u, _, _ int) int { return u },
		"kapi_hash_slots_queue": func(_, q, _ int) int { return q },
		"kapi_hash_slots":       func(_, _, l int) int { return l },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: "Password hash slots: used, queue, and in all."},
			func() float64 { return float64(pick(slots())) }))
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kapi_database_connections", Help: "Database connections in use."},
		func() float64 { return float64(connections()) }))
	for kind, count := range map[string]*atomic.Int64{"read": &statements.Reads, "write": &statements.Writes} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "kapi_database_statements_total",
			Help: "Statements sent to the database.", ConstLabels: prometheus.Labels{"kind": kind}}, func() float64 { return float64(count.Load()) }))
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kapi_build_info", Help: "Always 1."}, []string{"version", "commit", "go"})
	build.WithLabelValues(version, commit(), runtime.Version()).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// serves adds the end of the certificate that connections are shown, which is not always the one in the file.
func (m *metrics) serves(c *certificate) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kapi_certificate_end_seconds", Help: "When the certificate that is served ends, in Unix time."},
		func() float64 { return float64(notAfter(c.current()).Unix()) }))
}

// forecast adds how many messages to phones are usual in a day, where that is known: the alert measures by it.
func (m *metrics) forecast(n int) {
	if n > 0 {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kapi_send_forecast", Help: "Messages to phones on a usual day, as configured."},
			func() float64 { return float64(n) }))
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observe(o signin.Observation) {
	m.answers.WithLabelValues(o.Factor, o.Client, o.Outcome).Inc()
}

func (m *metrics) meter(what, client, outcome string) {
	m.protocol.WithLabelValues(what, client, outcome).Inc()
}

func (m *metrics) watch() notify.Watch {
	return notify.Watch{
		Sent: func(channel, gateway, outcome string, took time.Duration) {
			m.messages.WithLabelValues(channel, gateway, outcome).Inc()
			m.gateway.WithLabelValues(gateway).Observe(took.Seconds())
		},
		Closed: func(channel, reason string) { m.closed.WithLabelValues(channel, reason).Inc() },
		Turned: func(gateway string, s notify.State) {
			up := 0.0
			if s == notify.Closed {
				up = 1
			}
			m.up.WithLabelValues(gateway).Set(up)
		},
		Age: func(d time.Duration) { m.outboxAge.Set(d.Seconds()) },
	}
}

// timed measures requests by the pattern of their route, never by their path: a path holds transaction ids.
func (m *metrics) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		answered := answer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(&answered, r)
		route := "none"
		if current := mux.CurrentRoute(r); current != nil {
			if t, err := current.GetPathTemplate(); err == nil {
				route = t
			}
		}
		m.requests.WithLabelValues(route, r.Method, strconv.Itoa(answered.status)).Observe(time.Since(start).Seconds())
	})
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (w *answer) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// sealed tells how the audit chain stands.
func (m *metrics) sealed(unsealed int64, head time.Time, now time.Time) {
	m.unsealed.Set(float64(unsealed))
	if !head.IsZero() {
		m.headAge.Set(now.Sub(head).Seconds())
	}
}
