package device

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Kinds of subscriptions.
const (
	NoPush  = "none"
	WebPush = "webpush" // RFC 8030, 8291, 8292
	FCM     = "fcm"     // Firebase Cloud Messaging
	APNs    = "apns"    // Apple Push Notification service
	HMS     = "hms"     // Huawei Push Kit
)

// Subscription is where pushes of a device go. Its JSON is the address of a message in the outbox (notify.Message.To).
type Subscription struct {
	Kind     string `json:"kind"`
	Endpoint string `json:"endpoint,omitempty"` // WebPush
	P256DH   string `json:"p256dh,omitempty"`   // WebPush, base64url of 65 bytes
	Auth     string `json:"auth,omitempty"`     // WebPush, base64url of 16 bytes
	Token    string `json:"token,omitempty"`    // the others
	Topic    string `json:"topic,omitempty"`    // APNs: the bundle id
}

var (
	tokenForm = regexp.MustCompile(`^[\x21-\x7e]+$`)
	topicForm = regexp.MustCompile(`^[A-Za-z0-9.-]{1,128}$`)
)

var errSubscription = errors.New("device: no such subscription")

// check refuses what no push service gives out. loopback lets an endpoint be on this machine, for an issuer that is there too.
func (s Subscription) check(loopback bool) error {
	web := s.Endpoint != "" || s.P256DH != "" || s.Auth != ""
	switch s.Kind {
	case WebPush:
		key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s.P256DH, "="))
		auth, err2 := base64.RawURLEncoding.DecodeString(strings.TrimRight(s.Auth, "="))
		if err != nil || err2 != nil || len(key) != 65 || len(auth) != 16 || s.Token != "" || s.Topic != "" || !endpoint(s.Endpoint, loopback) {
			return errSubscription
		}
	case FCM, HMS:
		if web || !tokenForm.MatchString(s.Token) || len(s.Token) > 1024 || s.Topic != "" {
			return errSubscription
		}
	case APNs:
		if web || !tokenForm.MatchString(s.Token) || len(s.Token) > 1024 || s.Topic != "" && !topicForm.MatchString(s.Topic) {
			return errSubscription
		}
	default:
		return errSubscription
	}
	return nil
}

// endpoint: whoever registers a device names an address that we will post to, so it must not lead inside (SSRF). Names are
// looked at again where they are dialled.
func endpoint(address string, loopback bool) bool {
	u, err := url.Parse(address)
	if err != nil || len(address) > 1024 || u.User != nil || u.Hostname() == "" || u.Fragment != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
	if here {
		return loopback && (u.Scheme == "http" || u.Scheme == "https")
	}
	if err == nil {
		return false // a push service has a name
	}
	return u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") && strings.Contains(u.Hostname(), ".")
}

// pushLog keeps the pushes of one person apart: a row of its own, whatever becomes of the device.
type pushLog struct {
	factors.Credential
	logMemo
}

type logMemo struct {
	Sent   []int64          `json:"sent,omitempty"`  // seconds; for unknown browsers, the last ones
	Known  []int64          `json:"known,omitempty"` // for known ones
	Paused int64            `json:"paused,omitempty"`
	Count  int64            `json:"count,omitempty"` // pushes ever granted
	Not    map[string]int64 `json:"not,omitempty"`   // browsers that were not the person, until when they are blocked
}

func readLog(c factors.Credential) (l pushLog, err error) {
	l.Credential = c
	if err := json.Unmarshal(c.Data, &l.logMemo); err != nil {
		return l, fmt.Errorf("device: credential %s: %w", c.ID, err)
	}
	return l, nil
}

func (l pushLog) paused(now time.Time) bool { return now.Unix() < l.Paused }

// blocks says whether the browser was not the person's a short while ago.
func (l pushLog) blocks(try factors.Try, now time.Time) bool {
	return try.Browser != "" && now.Unix() < l.Not[try.Browser]
}

// note writes what fn makes of a person's log, whatever else moves meanwhile; fn says whether there is something to write. What is to be
// said of it, if anything, commits with it.
func (f *Factor) note(ctx context.Context, id account.ID, fn func(*logMemo) bool, said func(context.Context) error) error {
	for range 30 {
		o, err := f.owned(ctx, id)
		if err != nil {
			return err
		}
		if !fn(&o.log.logMemo) {
			return nil
		}
		if o.log.Data, err = json.Marshal(o.log.logMemo); err != nil {
			return err
		}
		err = f.kit.Atomically(ctx, func(ctx context.Context) error {
			var err error
			if o.log.ID == "" {
				_, err = f.kit.Credentials.Create(ctx, factors.Credential{Account: id, Handle: logOf(id), State: pushes, Data: o.log.Data})
			} else {
				err = f.kit.Credentials.Update(ctx, o.log.Credential)
			}
			if err != nil || said == nil {
				return err
			}
			return said(ctx)
		})
		if !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	return fault.ErrConflict
}

// recent keeps what lies within the window.
func recent(sent []int64, now time.Time) []int64 {
	return slices.DeleteFunc(slices.Clone(sent), func(at int64) bool { return at <= now.Add(-pushWindow).Unix() })
}

// mayPush counts a push, or says that none may go out: there is nowhere to push to, or there were too many. The fourth for unknown
// browsers within ten minutes stops pushes for them for an hour (row D3); who sits at a browser that the person used
// before is not made to pay for that. Known browsers have a count of their own, twice as high: a person at home tries again, on a second
// machine too, and whoever can make one push has got past the password and, once, the second step there. It is a limit without a pause: the hour
// would be the attacker's to spend, for the price of one stolen known browser, and Mobile Approval shows the request all the same.
func (f *Factor) mayPush(ctx context.Context, try factors.Try, d device) (yes bool, err error) {
	if d.Push == nil || d.Gone || f.kit.Push == nil {
		return false, nil
	}
	to, err := json.Marshal(d.Push)
	if err != nil || !f.kit.Push.Up(string(to)) {
		return false, err
	}
	now := f.now()
	stopped := false
	err = f.note(ctx, try.Account, func(l *logMemo) bool {
		yes, stopped = false, false
		if try.Known {
			l.Known = recent(l.Known, now)
			if yes = len(l.Known) < mostKnown; yes {
				l.Known, l.Count = append(l.Known, now.Unix()), l.Count+1
			}
			return yes
		}
		if now.Unix() < l.Paused {
			return false
		}
		l.Sent = recent(l.Sent, now)
		if yes = len(l.Sent) < mostPushes; yes {
			l.Sent, l.Count = append(l.Sent, now.Unix()), l.Count+1
		} else {
			l.Paused, l.Sent, stopped = now.Add(Pause).Unix(), nil, true
		}
		return true
	}, func(ctx context.Context) error {
		if !stopped {
			return nil
		}
		return f.record(ctx, moment{network: try.Network, agent: try.Agent}, audit.PushPaused, "ok", try.Account,
			map[string]string{"until": now.Add(Pause).Format(time.RFC3339)})
	})
	if errors.Is(err, fault.ErrConflict) { // a crowd: nobody pushes rather than everybody
		return false, nil
	}
	return yes, err
}

// unpush takes back a push that will not go out, because the browser holds the key itself.
func (f *Factor) unpush(ctx context.Context, r request) error {
	if !r.Pushed {
		return nil
	}
	return f.note(ctx, r.Account, func(l *logMemo) bool {
		list := &l.Sent
		if r.Known {
			list = &l.Known
		}
		i := slices.Index(*list, r.CreatedAt.Unix())
		if i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
		return i >= 0
	}, nil)
}

// push puts the push of a request into the outbox. The wish to look at the list is all it says. Requests that mean the same and are made at
// once, so that none sees another wait, share one push: o is how it stood before, and knows of the same pushes for all of them. A later
// one knows of more, and has its own, however soon the one before was answered.
func (f *Factor) push(ctx context.Context, try factors.Try, o owned, r request) error {
	if !r.Pushed {
		return nil
	}
	to, err := json.Marshal(o.device.Push)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]string{"kind": "approval", "id": r.Txn})
	if err != nil {
		return err
	}
	m := factors.PushMessage{Account: r.Account, To: string(to), Text: string(text), Ticket: r.ID, Deadline: r.until()}
	m.Dedupe = fmt.Sprintf("device:%s:%s:%d:%d", r.Account, r.Like, r.CreatedAt.Unix()/int64(Life/time.Second), o.log.Count)
	if o.device.Platform == "web" {
		m.After = r.CreatedAt.Add(aside)
	}
	if err := f.kit.Push.Send(ctx, m); err != nil {
		return err
	}
	return f.record(ctx, moment{network: try.Network, agent: try.Agent}, audit.CodeSent, "ok", r.Account, map[string]string{"factor": Name, "channel": "push"})
}

// Gone marks the device as not reachable by push, after a push service said that it knows the subscription (the To of a message of the
// outbox) no more. One that was replaced meanwhile is left alone.
func (f *Factor) Gone(ctx context.Context, id account.ID, to string) error {
	var s Subscription
	if json.Unmarshal([]byte(to), &s) != nil {
		return nil
	}
	err := f.change(ctx, id, func(d *device) error {
		if d.Push == nil || *d.Push != s {
			return fault.ErrNotFound
		}
		d.Gone = true
		return nil
	}, nil)
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	return err
}

// Reach is where a notice to the person's app goes: the To of a message of the outbox; "" where no push can arrive.
func (f *Factor) Reach(ctx context.Context, id account.ID) (to string, err error) {
	o, err := f.owned(ctx, id)
	if err != nil || o.device.State != active || o.device.Push == nil || o.device.Gone {
		return "", err
	}
	b, err := json.Marshal(o.device.Push)
	return string(b), err
}
