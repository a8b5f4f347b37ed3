// Package notify owns how a message leaves: the outbox row that commits with the change it tells of, and the worker that sends it
// through gateways with time limits and breakers. Enter with Outbox and Worker. It refuses to send what is used,
// replaced or past its deadline, and to send twice after a crash.
package notify

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

// Message is one outbox row. To and Text are sealed at rest and wiped when the row is closed.
type Message struct {
	ID        string // UUIDv7; also the idempotency key at the gateway
	Channel   string // "sms", "sim", "messenger", "mail", or what PushChannel says
	Dedupe    string // a second row with the same value is not stored; "" = no check
	Account   account.ID
	To        string // E.164, an e-mail address, or the JSON of a push subscription
	Text      string
	Ticket    string // the one-time code it carries: used, replaced or expired, the message is dropped
	Deadline  time.Time
	Attempts  int // claims so far, the present one included
	CreatedAt time.Time
}

// PushKinds are the kinds of push services: Web Push, and those of Google, Apple and Huawei for native apps.
var PushKinds = []string{"webpush", "fcm", "apns", "hms"}

// PushChannel is the channel of a push to a subscription, a JSON object whose "kind" is one of PushKinds. Each kind is a channel
// of its own with its own gateway and breaker, so that a push service that hangs holds up no other. What is of no kind goes by "push",
// which has no gateway.
func PushChannel(to string) string {
	var s struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal([]byte(to), &s) != nil || !slices.Contains(PushKinds, s.Kind) {
		return "push"
	}
	return "push-" + s.Kind
}

// Hold is the longest time a living worker keeps a claimed message: an Outbox may take an older claim for that of a dead one.
const Hold = 30 * time.Second

// Outbox is the stored queue.
type Outbox interface {
	Enqueue(ctx context.Context, m Message) error
	// Claim takes up to n due messages of other channels than except for this worker and marks them sending; expired,
	// used and replaced ones are closed instead. A message whose worker died while sending is closed as unknown, never
	// claimed again: nobody can tell whether it went out, and the person can ask for a new code. What was claimed before an
	// error is returned with it.
	Claim(ctx context.Context, n int, except []string, now time.Time) ([]Message, error)
	// Sent closes it; Failed gives it back, due at next, or closes it when next is zero or past the deadline.
	Sent(ctx context.Context, id string, gateway string, now time.Time) error
	Failed(ctx context.Context, id string, next time.Time, reason string, now time.Time) error
	// Age is how long the oldest due message has waited.
	Age(ctx context.Context, now time.Time) (time.Duration, error)
}

// Gateway sends one message, or says whether it certainly did not go out.
type Gateway interface {
	Name() string
	// Send returns nil when the gateway took the message. The id is an idempotency key. An error that is no *Failure counts
	// as Unsure.
	Send(ctx context.Context, m Message) error
}

// Runner is an optional extra: a gateway that holds a connection. The worker runs it until ctx ends.
type Runner interface{ Run(ctx context.Context) }

// Ready is an optional extra: a gateway that knows without a call that it cannot send now.
type Ready interface{ Ready() bool }

// Idempotent is an optional extra: a gateway that drops a second message with the same id, so that an unsure one may be
// sent there again.
type Idempotent interface{ Idempotent() bool }
