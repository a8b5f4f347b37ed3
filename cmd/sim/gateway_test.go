package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway"
	"github.com/kapi-id/kapi/internal/sim/phone"
)

// The phone's switches seen through the gateway that the server uses, over a real connection (row O4).
func TestO4_InboxGatewayAndPhone(t *testing.T) {
	for _, tc := range []struct {
		trouble phone.Trouble
		sent    bool
		want    notify.Failure
		kept    int // after the same message was sent twice
	}{
		{phone.None, true, notify.Failure{}, 1},
		{phone.Lost, true, notify.Failure{}, 0},
		{phone.Duplicate, true, notify.Failure{}, 2},
		{phone.Failing, false, notify.Failure{Certain: true}, 0},
		{phone.Busy, false, notify.Failure{Certain: true, RetryAfter: 5 * time.Second}, 0},
		{phone.Refuse, false, notify.Failure{Silent: true}, 0},
		{phone.Hang, false, notify.Failure{Silent: true}, 0},
	} {
		t.Run(string(tc.trouble), func(t *testing.T) {
			p := phone.New(phone.Config{})
			s := httptest.NewServer(p)
			defer s.Close()
			routes, err := gateway.Parse("inbox:"+s.URL, gateway.Config{Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Set(tc.trouble); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				ctx := t.Context()
				if tc.trouble == phone.Hang {
					short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
					defer cancel()
					ctx = short
				}
				err = routes[0].Gateway.Send(ctx, notify.Message{ID: "one", Channel: "sms", To: "+905550000001", Text: "123456 is your code"})
				if (err == nil) != tc.sent {
					t.Fatal(err)
				}
				var f *notify.Failure
				if errors.As(err, &f) && (f.Certain != tc.want.Certain || f.Silent != tc.want.Silent || f.RetryAfter != tc.want.RetryAfter || f.Final) {
					t.Fatalf("%+v", f)
				}
			}
			got := p.Inbox("+905550000001")
			if len(got) != tc.kept {
				t.Fatalf("%d messages", len(got))
			}
			for _, m := range got {
				if m.From != "KAPI" || m.Channel != "sms" || m.Text != "123456 is your code" {
					t.Errorf("%+v", m)
				}
			}
		})
	}
}
