package operator

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const number = "+905550000001"

// world is an operator that is reached over a network, at a moment that is moved.
type world struct {
	*Operator
	t   *testing.T
	url string
	now time.Time
}

func newWorld(t *testing.T, sink string) *world {
	w := &world{t: t, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	w.Operator = New(Config{Client: "kapi", Secret: "s e/c", Now: func() time.Time { return w.now }, Sink: sink, SinkToken: "t0ken"})
	server := httptest.NewServer(w.Operator)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) do(ctx context.Context, path, body string, header ...string) (int, string, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (w *world) post(path, body string, header ...string) (int, string) {
	w.t.Helper()
	status, text, err := w.do(w.t.Context(), path, body, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return status, text
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(password))
	return r.Header.Get("Authorization")
}

const formType = "application/x-www-form-urlencoded"

func (w *world) token(scope string) string {
	w.t.Helper()
	status, text := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}.Encode(), "Content-Type", formType, "Authorization", basic("kapi", "s e/c"))
	var a struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil || status != http.StatusOK || a.Token == "" {
		w.t.Fatalf("%d %s", status, text)
	}
	return a.Token
}

const retrieve, check = "/sim-swap/v2/retrieve-date", "/sim-swap/v2/check"

// The token endpoint knows one client, one grant and two scopes.
func TestToken(t *testing.T) {
	w := newWorld(t, "")
	for name, tc := range map[string]struct {
		grant, scope, user, password string
		want                         int
	}{
		"right":          {"client_credentials", "sim-swap:check", "kapi", "s e/c", 200},
		"a wrong secret": {"client_credentials", "sim-swap:check", "kapi", "s", 401},
		"another client": {"client_credentials", "sim-swap:check", "other", "s e/c", 401},
		"nobody":         {"client_credentials", "sim-swap:check", "", "", 401},
		"another scope":  {"client_credentials", "openid", "kapi", "s e/c", 400},
		"no scope":       {"client_credentials", "", "kapi", "s e/c", 400},
		"both scopes":    {"client_credentials", "sim-swap:check sim-swap:retrieve-date", "kapi", "s e/c", 400},
		"another grant":  {"password", "sim-swap:check", "kapi", "s e/c", 400},
	} {
		if status, text := w.post("/token", url.Values{"grant_type": {tc.grant}, "scope": {tc.scope}}.Encode(), "Content-Type", formType, "Authorization", basic(tc.user, tc.password)); status != tc.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// The API wants a token of its own scope that is not over, and a number.
func TestQuestions(t *testing.T) {
	w := newWorld(t, "")
	if err := w.Change(number, w.now.Add(-3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "05550000001", "+0555", "+90 555", number + "\n"} {
		if w.Change(bad, w.now) == nil {
			t.Errorf("%q has a new card", bad)
		}
	}
	date, checks := "Bearer "+w.token("sim-swap:retrieve-date"), "Bearer "+w.token("sim-swap:check")
	ask := func(n string) string { return `{"phoneNumber":"` + n + `"}` }
	for name, tc := range map[string]struct {
		path, token, body string
		status            int
		says              string
	}{
		"the date":                {retrieve, date, ask(number), 200, `{"latestSimChange":"2026-03-04T02:06:07Z"}`},
		"never":                   {retrieve, date, ask("+905550000002"), 200, `{"latestSimChange":null,"monitoredPeriod":120}`},
		"within ten days":         {check, checks, ask(number), 200, `{"swapped":true}`},
		"within three hours":      {check, checks, `{"phoneNumber":"` + number + `","maxAge":3}`, 200, `{"swapped":true}`},
		"within two hours":        {check, checks, `{"phoneNumber":"` + number + `","maxAge":2}`, 200, `{"swapped":false}`},
		"within none":             {check, checks, `{"phoneNumber":"` + number + `","maxAge":0}`, 400, "OUT_OF_RANGE"},
		"within too many":         {check, checks, `{"phoneNumber":"` + number + `","maxAge":2401}`, 400, "OUT_OF_RANGE"},
		"no number":               {retrieve, date, `{}`, 422, "MISSING_IDENTIFIER"},
		"no such number":          {retrieve, date, ask("5550000001"), 400, "INVALID_ARGUMENT"},
		"something else as well":  {retrieve, date, `{"phoneNumber":"` + number + `","name":"x"}`, 400, "INVALID_ARGUMENT"},
		"no JSON":                 {retrieve, date, `phoneNumber=1`, 400, "INVALID_ARGUMENT"},
		"no token":                {retrieve, "", ask(number), 401, "UNAUTHENTICATED"},
		"a token of another call": {retrieve, checks, ask(number), 401, "UNAUTHENTICATED"},
		"a made-up token":         {check, "Bearer x", ask(number), 401, "UNAUTHENTICATED"},
	} {
		status, text := w.post(tc.path, tc.body, "Authorization", tc.token)
		if status != tc.status || !strings.Contains(text, tc.says) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if got := w.Asked(); got != 14 {
		t.Errorf("asked %d times", got)
	}
	w.now = w.now.Add(period*24*time.Hour - 3*time.Hour + time.Second) // of the change
	date = "Bearer " + w.token("sim-swap:retrieve-date")
	if _, text := w.post(retrieve, ask(number), "Authorization", date); !strings.Contains(text, "monitoredPeriod") {
		t.Errorf("looked back further than it says: %s", text)
	}
	w.now = w.now.Add(tokenLife)
	if status, _ := w.post(retrieve, ask(number), "Authorization", date); status != http.StatusUnauthorized {
		t.Errorf("a token that is over: %d", status)
	}
	date = "Bearer " + w.token("sim-swap:retrieve-date")
	w.Forget()
	if status, _ := w.post(retrieve, ask(number), "Authorization", date); status != http.StatusUnauthorized {
		t.Errorf("a token that was forgotten: %d", status)
	}
}

// Each switch fails in its way, and None ends it.
func TestTroubles(t *testing.T) {
	w := newWorld(t, "")
	for trouble, want := range map[Trouble]struct {
		status int // 0 = no answer at all
		says   string
	}{
		Down: {0, ""}, Denied: {401, "UNAUTHENTICATED"}, NotFound: {404, "IDENTIFIER_NOT_FOUND"}, Unfit: {422, "SERVICE_NOT_APPLICABLE"}, Busy: {429, "TOO_MANY_REQUESTS"},
		Failing: {500, "INTERNAL"}, Null: {200, `{"latestSimChange":null}`}, Garbage: {200, "<html>"}, Other: {200, "devicePhoneNumberVerified"},
	} {
		token := "Bearer " + w.token("sim-swap:retrieve-date")
		if err := w.Set(trouble); err != nil {
			t.Fatal(err)
		}
		status, text, err := w.do(t.Context(), retrieve, `{"phoneNumber":"`+number+`"}`, "Authorization", token)
		if (err != nil) != (want.status == 0) || status != want.status || !strings.Contains(text, want.says) {
			t.Errorf("%s: %d %s %v", trouble, status, text, err)
		}
		_ = w.Set(None)
		if status, text := w.post(retrieve, `{"phoneNumber":"`+number+`"}`, "Authorization", token); status != http.StatusOK || !strings.Contains(text, "monitoredPeriod") {
			t.Errorf("after %s: %d %s", trouble, status, text)
		}
	}
	// Slow answers nothing as long as anybody waits.
	_ = w.Set(Slow)
	ctx, cancel := context.WithCancel(t.Context())
	asked := w.Asked()
	go func() {
		for w.Asked() == asked && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if status, text, err := w.do(ctx, retrieve, `{}`); err == nil {
		t.Errorf("slow: %d %s", status, text)
	}
	_ = w.Set(NoToken)
	if status, _ := w.post("/token", "grant_type=client_credentials&scope=sim-swap:check", "Content-Type", formType, "Authorization", basic("kapi", "s e/c")); status != http.StatusUnauthorized {
		t.Errorf("no token: %d", status)
	}
	if w.Set("made-up") == nil {
		t.Error("a switch that does not exist")
	}
}

// A change on the page is told to the sink as a CloudEvent, by whoever is at this machine and on this page alone.
func TestChangeIsTold(t *testing.T) {
	got := make(chan Event, 1)
	sink := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var e Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("Authorization") != "Bearer t0ken" || r.Header.Get("Content-Type") != "application/cloudevents+json" {
			t.Errorf("%v, %v", err, r.Header)
		}
		got <- e
		rw.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	w := newWorld(t, sink.URL)
	form := url.Values{"number": {number}, "tell": {"yes"}}.Encode()
	for name, header := range map[string][]string{
		"another site":           {"Sec-Fetch-Site", "cross-site"},
		"the name of a web site": {"Host", "operator.example"},
		"another site's address": {"Origin", "https://evil.example"},
	} {
		if status, _ := w.post("/change", form, append(header, "Content-Type", formType)...); status < 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(got) != 0 {
		t.Fatal("told by a stranger")
	}
	if status, text := w.post("/change", form, "Content-Type", formType); status != http.StatusMethodNotAllowed && status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	e := <-got
	if e.Type != Swapped || e.Data.PhoneNumber != number || e.SpecVersion != "1.0" || e.ID == "" || !e.Time.Equal(w.now) {
		t.Errorf("%+v", e)
	}
	if again := w.NewEvent(number); again.ID == e.ID {
		t.Error("two events with one id")
	}
	resp, err := http.Get(w.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, _ := io.ReadAll(resp.Body)
	if !strings.Contains(string(page), "The event was answered with 204.") || !strings.Contains(string(page), "905550000001") {
		t.Errorf("%s", page)
	}
	if status, _ := w.post("/change", "number=x", "Content-Type", formType); status != http.StatusBadRequest {
		t.Errorf("no number: %d", status)
	}
}
