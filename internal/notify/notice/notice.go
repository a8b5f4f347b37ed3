// Package notice owns what people are told of when something happens to their account: a table of rules over the events of the
// audit record, the words, and the list that their own pages show. Enter with Recorder, which stands in front of an audit.Recorder
// and puts the messages into the outbox in the transaction of the event, and with Sentence for the list.
//
// It refuses to send to a contact that was only typed in, to put a link into a text message, to let one event be told twice, and
// to be made a flood by somebody who fails on purpose.
package notice

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/notify"
)

//go:embed words.json
var files embed.FS

// Words is the catalogue source of the notices.
func Words() fs.FS { return files }

// Notice is one line of a person's own list. Network, Agent and Details are sealed at rest.
type Notice struct {
	ID         string // that of the event
	Account    account.ID
	At         time.Time
	Key        string // of its sentence, e.g. "notice.password"
	Network    string
	Agent      string
	Details    map[string]string
	ReadAt     time.Time
	Token      []byte // hash of the link by which the person says that it was not them; nil = none. Only on AddNotice
	TokenUntil time.Time
}

// TokenLife is how long the link in a message works. A person who was away for a week can still say no.
const TokenLife = 10 * 24 * time.Hour

// Store keeps the lists and the outbox.
type Store interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	Enqueue(ctx context.Context, m notify.Message) error
	AddNotice(ctx context.Context, n Notice) error
	// NoticesOf returns notices before a moment (zero = now), newest first.
	NoticesOf(ctx context.Context, id account.ID, before time.Time, n int) ([]Notice, error)
	UnreadNotices(ctx context.Context, id account.ID) (int, error)
	// ReadNotices says that the person has looked at all of them up to a moment.
	ReadNotices(ctx context.Context, id account.ID, until, now time.Time) error
	// NoticeToken says whose link it is, if it may still be used; UseNoticeToken uses it up, once. Both fault.ErrNotFound.
	NoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error)
	UseNoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error)
}
