package inbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/kapi-id/kapi/internal/notify"
)

func TestSend(t *testing.T) {
	status := http.StatusAccepted
	var got map[string]string
	var key string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key = r.Header.Get("Idempotency-Key")
		if r.Method != http.MethodPost || r.URL.Path != "/inbox" || json.NewDecoder(r.Body).Decode(&got) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	g, err := New("inbox", s.URL+"/", "KAPI")
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{ID: "id-1", Channel: "sms", To: "+905550000001", Text: "123456 …"}
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"channel": "sms", "from": "KAPI", "to": "+905550000001", "text": "123456 …"}
	if key != "id-1" || !reflect.DeepEqual(got, want) {
		t.Errorf("key %q, body %v", key, got)
	}
	for code, final := range map[int]bool{400: true, 500: false, 429: false} {
		status = code
		var f *notify.Failure
		if err := g.Send(t.Context(), m); !errors.As(err, &f) || !f.Certain || f.Final != final {
			t.Errorf("%d: %+v", code, f)
		}
	}
}

// A push reaches the phone whatever service the app has, and the page of the phone can name where it went.
func TestPush(t *testing.T) {
	var got map[string]string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) }))
	defer s.Close()
	g, err := New("inbox", s.URL, "KAPI")
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{Channel: "push-fcm", To: `{"kind":"fcm","token":"abc:1234567890"}`, Text: `{"kind":"approval","id":"1"}`}
	if err := g.Send(t.Context(), m); err != nil || got["channel"] != "push" || got["to"] != "fcm …34567890" || got["text"] != m.Text {
		t.Errorf("%v %v", got, err)
	}
	m.To = "{}"
	var f *notify.Failure
	if err := g.Send(t.Context(), m); !errors.As(err, &f) || !f.Gone {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for base, ok := range map[string]bool{
		"http://127.0.0.1:8082": true, "http://[::1]:8082": true, "http://localhost:8082/": true, "http://phone:8082": true,
		"https://127.0.0.1:8082": false, "http://192.0.2.1:8082": false, "http://phone.example:8082": false, "http://u:p@localhost": false,
		"http://127.0.0.1/path": false, "http://127.0.0.1?x=1": false, "": false, "http://": false, "http://%zz": false,
	} {
		if _, err := New("inbox", base, "KAPI"); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}
