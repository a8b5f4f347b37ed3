package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kapi-id/kapi/internal/sim/phone"
	"github.com/kapi-id/kapi/internal/sim/push"
)

// What a push service delivers, the phone shows.
func TestPushIsShown(t *testing.T) {
	p := phone.New(phone.Config{})
	s := httptest.NewServer(p)
	defer s.Close()
	show := (&pushCmd{Phone: s.URL}).show()
	show(push.Push{Kind: "webpush", To: "0123456789abcdef", Data: `{"kind":"approval","id":"1"}`})
	got := p.Inbox("webpush …89abcdef")
	if len(got) != 1 || got[0].Channel != "push" || got[0].Text != `{"kind":"approval","id":"1"}` {
		t.Errorf("%+v", p.Inbox(""))
	}
	if (&pushCmd{}).show() != nil {
		t.Error("a phone that was not named")
	}
}

// Web Push subscriptions are given out as a browser's would be, and the switches turn by hand.
func TestPushService(t *testing.T) {
	service := push.New(push.Config{})
	defer service.Close()
	s := httptest.NewServer(service)
	defer s.Close()
	resp, err := http.Post(s.URL+"/subscribe", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var sub map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&sub); err != nil || sub["kind"] != "webpush" || len(sub["p256dh"]) != 87 || len(sub["auth"]) != 22 {
		t.Errorf("%v %v", sub, err)
	}
	for trouble, want := range map[string]int{"gone": http.StatusNoContent, "none": http.StatusNoContent, "nothing": http.StatusBadRequest} {
		resp, err := http.PostForm(s.URL+"/trouble", map[string][]string{"trouble": {trouble}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", trouble, resp.StatusCode)
		}
	}
}
