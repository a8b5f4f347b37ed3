// Package push owns what the gateways to push services share: reading a subscription and what is to be said, tokens that a service
// gives or takes for a while, signing them, and waiting when a service asks to. Enter with Read, Pass, Sign and Rests.
// It refuses to let anything leave but the kind and the id of what happened: a push service, and a lock screen, are strangers.
package push

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Subscription is notify.Message.To of a push: where an app is reached. Which members it has depends on the kind.
type Subscription struct {
	Kind     string `json:"kind"`
	Endpoint string `json:"endpoint"` // webpush
	P256DH   string `json:"p256dh"`   // webpush: base64url of the 65 bytes of a point
	Auth     string `json:"auth"`     // webpush: base64url of 16 bytes
	Token    string `json:"token"`    // the others
	Topic    string `json:"topic"`    // apns: the bundle id, if not the usual one
}

// Note is notify.Message.Text of a push: something happened that the app should fetch.
type Note struct {
	Kind string `json:"kind"` // "approval" or "notice"
	ID   string `json:"id"`
}

// Urgent: somebody waits for it.
func (n Note) Urgent() bool { return n.Kind == "approval" }

// JSON of the note, which is all that an app gets.
func (n Note) JSON() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // two strings
	}
	return b
}

var (
	kindForm = regexp.MustCompile(`^[a-z]{1,16}$`)
	idForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Read takes a message of one kind apart. A subscription that is none is Gone, a note with anything else in it is Refused.
func Read(m notify.Message, kind string) (s Subscription, n Note, f *notify.Failure) {
	if json.Unmarshal([]byte(m.To), &s) != nil || s.Kind != kind {
		return s, n, notify.Gone(errors.New("no subscription of this kind"))
	}
	d := json.NewDecoder(strings.NewReader(m.Text))
	d.DisallowUnknownFields()
	if d.Decode(&n) != nil || d.More() || !kindForm.MatchString(n.Kind) || !idForm.MatchString(n.ID) {
		return s, n, notify.Refused(errors.New("a push says a kind and an id, nothing else"))
	}
	return s, n, nil
}

// Left is how long m is worth delivering, in whole seconds; what a push service keeps longer would come too late.
func Left(m notify.Message, now time.Time) time.Duration {
	return max(m.Deadline.Sub(now), 0).Truncate(time.Second)
}

// Client is call.Client with pings, which find out that a connection of HTTP/2 died before a push is lost on it.
func Client(roots *x509.CertPool) *http.Client {
	c := call.Client(roots)
	t := c.Transport.(*http.Transport)
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 3 * time.Second}
	return c
}
