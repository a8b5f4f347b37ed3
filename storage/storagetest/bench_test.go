package storagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/storage"
)

// benchmark reports, beside the time, the CPU µs of this process and of the Postgres server for each operation.
func benchmark(b *testing.B, run func(b *testing.B, db *storage.DB, measure func(func()))) {
	for _, d := range []struct {
		name string
		open func(testing.TB) *storage.DB
		pid  func() int
	}{
		{"sqlite", SQLite, func() int { return 0 }},
		{"postgres", Postgres, func() int { return testpg.Shared(b).PID }},
	} {
		b.Run(d.name, func(b *testing.B) {
			db := d.open(b)
			pid := d.pid()
			run(b, db, func(op func()) {
				for range 10 { // statements are prepared, pages are warm
					op()
				}
				own, before := ownCPU(), serverCPU(pid)
				for b.Loop() {
					op()
				}
				b.ReportMetric(float64(ownCPU()-own)/float64(b.N)/1e3, "own-µs/op")
				var server int64
				for p, ns := range serverCPU(pid) {
					server += ns - before[p]
				}
				b.ReportMetric(float64(server)/float64(b.N)/1e3, "pg-µs/op")
			})
		})
	}
}

func ownCPU() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}

// serverCPU is the nanoseconds of each of the postmaster's children.
func serverCPU(pid int) map[string]int64 {
	out := map[string]int64{}
	if pid == 0 {
		return out
	}
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		var ns int64
		text, _ := os.ReadFile("/proc/" + e.Name() + "/schedstat")
		_, _ = fmt.Sscan(string(text), &ns)
		out[e.Name()] = ns
	}
	return out
}

// request is a ctx that can be cancelled, as those of the server are.
func request(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(bg)
	b.Cleanup(cancel)
	return ctx
}

func BenchmarkLiving(b *testing.B) {
	benchmark(b, func(b *testing.B, db *storage.DB, measure func(func())) {
		r := Person(b, db)
		a := access(b, db, Grant(b, db, Session(b, db, r.Account.ID)))
		ctx := request(b)
		measure(func() { ok(b, second(db.Living(ctx, a.Hash, Start))) })
	})
}

func BenchmarkRedeemCode(b *testing.B) {
	benchmark(b, func(b *testing.B, db *storage.DB, measure func(func())) {
		r := Person(b, db)
		s := Session(b, db, r.Account.ID)
		ctx := request(b)
		codes := make(chan grant.Grant, 100000)
		measure(func() {
			if len(codes) == 0 {
				b.StopTimer()
				for range 1000 {
					codes <- Grant(b, db, s)
				}
				b.StartTimer()
			}
			g := <-codes
			ok(b, db.Atomically(ctx, func(ctx context.Context) error {
				g, err := db.RedeemCode(ctx, g.Client, g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, true, Start)
				if err != nil {
					return err
				}
				return errors.Join(db.CreateAccess(ctx, grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: g.Client, Scopes: g.Scopes, IssuedAt: Start, ExpiresAt: Start.Add(time.Minute)}),
					db.Record(ctx, event(r.Account.ID, audit.TokenIssued, Start)))
			}))
		})
	})
}

func BenchmarkRotate(b *testing.B) {
	benchmark(b, func(b *testing.B, db *storage.DB, measure func(func())) {
		r := Person(b, db)
		g := Grant(b, db, Session(b, db, r.Account.ID))
		_, err := redeem(db, g, true, Start)
		ok(b, err)
		ctx, generation := request(b), int64(1)
		measure(func() {
			ok(b, db.Atomically(ctx, func(ctx context.Context) error {
				g, err := db.Rotate(ctx, g.Client, g.ID, generation, Start)
				if err != nil {
					return err
				}
				generation = g.Generation
				return errors.Join(db.CreateAccess(ctx, grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: g.Client, Scopes: g.Scopes, IssuedAt: Start, ExpiresAt: Start.Add(time.Minute)}),
					db.Record(ctx, event(r.Account.ID, audit.TokenIssued, Start)))
			}))
		})
	})
}

// BenchmarkSignIn is what a whole sign-in with password and SMS code asks of the database, from authorize to userinfo.
func BenchmarkSignIn(b *testing.B) {
	benchmark(b, func(b *testing.B, db *storage.DB, measure func(func())) {
		r := Person(b, db)
		id := r.Account.ID
		ctx := request(b)
		passwords, tickets := db.Credentials("password"), db.Tickets("sms")
		_, err := passwords.Create(ctx, factors.Credential{Account: id, State: "active", Data: make([]byte, 120)})
		ok(b, err)
		l := throttle.Ladder{Free: 5, First: time.Minute, Most: time.Hour, Disable: 100}
		ws := []throttle.Window{{N: 1e6, Per: 10 * time.Second}, {N: 1e6, Per: 15 * time.Minute}}
		measure(func() {
			tx := signin.Transaction{ID: uuid.NewString(), Browser: secret.Hash("b"), State: signin.Open, CreatedAt: Start, ExpiresAt: Start.Add(signin.Life), Ask: signin.Ask{Client: "rp1", Scopes: []string{"openid"}}}
			ok(b, db.CreateTransaction(ctx, tx))
			tx.Version = 1
			read := func() { ok(b, second(db.Transaction(ctx, tx.ID, Start))) }
			save := func(e audit.Name, also func(context.Context) error) {
				ok(b, db.Atomically(ctx, func(ctx context.Context) error {
					if also != nil {
						if err := also(ctx); err != nil {
							return err
						}
					}
					if err := db.Record(ctx, event(id, e, Start)); err != nil {
						return err
					}
					return second(db.SaveTransaction(ctx, tx))
				}))
				tx.Version++
			}
			read()
			read() // the password is sent
			ok(b, second(db.AccountByNationalID(ctx, r.Person.NationalID)))
			ok(b, second(db.Take(ctx, "person:"+string(id), l, Start)))
			ok(b, second(db.Take(ctx, "network:192.0.2.7", l, Start)))
			ok(b, second(passwords.Of(ctx, id)))
			ok(b, db.Clear(ctx, "person:"+string(id), "network:192.0.2.7"))
			save(audit.SigninFirst, nil)
			read() // the code is shown
			ok(b, second(db.Account(ctx, id)))
			ok(b, second(db.Hit(ctx, "sms:"+string(id), ws, Start)))
			t, err := tickets.Open(ctx, ticket(tx.ID), &factors.Message{Account: id, Channel: "sms", Text: "123456", Deadline: Start.Add(time.Minute)})
			ok(b, err)
			ms, err := db.Claim(ctx, 10, nil, Start)
			ok(b, err)
			for _, m := range ms {
				ok(b, db.Sent(ctx, m.ID, "g", Start))
			}
			read() // the code is sent
			ok(b, second(db.Account(ctx, id)))
			ok(b, second(db.Take(ctx, "sms:"+string(id), l, Start)))
			ok(b, second(tickets.Try(ctx, t.ID, 5)))
			ok(b, tickets.Use(ctx, t.ID))
			ok(b, db.Clear(ctx, "sms:"+string(id)))
			tx.State = signin.Ready
			s := session.Session{ID: uuid.NewString(), Account: id, CreatedAt: Start, SeenAt: Start, ExpiresAt: Start.Add(session.Life)}
			save(audit.SigninCompleted, func(ctx context.Context) error {
				return db.CreateSession(ctx, s, secret.Hash(s.ID), account.Account{ID: id, Version: 1})
			})
			g := newGrant(s)
			ok(b, db.Atomically(ctx, func(ctx context.Context) error {
				_, err := db.FinishTransaction(ctx, tx.ID, tx.Browser, Start)
				return errors.Join(err, db.CreateGrant(ctx, g), db.Record(ctx, event(id, audit.GrantIssued, Start)))
			}))
			a := grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: g.Client, IssuedAt: Start, ExpiresAt: Start.Add(time.Minute)}
			ok(b, db.Atomically(ctx, func(ctx context.Context) error {
				_, err := db.RedeemCode(ctx, g.Client, g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, true, Start)
				return errors.Join(err, db.CreateAccess(ctx, a), db.Record(ctx, event(id, audit.TokenIssued, Start)))
			}))
			ok(b, second(db.Living(ctx, a.Hash, Start)))
		})
	})
}

// BenchmarkEach is the cost of the single statements of a sign-in.
func BenchmarkEach(b *testing.B) {
	l := throttle.Ladder{Free: 1e6, First: time.Minute, Most: time.Hour}
	ws := []throttle.Window{{N: 1e6, Per: 10 * time.Second}, {N: 1e6, Per: 15 * time.Minute}}
	for name, prepare := range map[string]func(b *testing.B, db *storage.DB) func(ctx context.Context) error{
		"CreateTransaction": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				return db.CreateTransaction(ctx, signin.Transaction{ID: uuid.NewString(), Browser: secret.Hash("b"), State: signin.Open, CreatedAt: Start, ExpiresAt: Start.Add(signin.Life), Ask: signin.Ask{Client: "rp1", Scopes: []string{"openid"}}})
			}
		},
		"Transaction": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			tx := transaction(b, db)
			return func(ctx context.Context) error { return second(db.Transaction(ctx, tx.ID, Start)) }
		},
		"SaveTransaction": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			tx := transaction(b, db)
			return func(ctx context.Context) (err error) {
				tx.Version, err = db.SaveTransaction(ctx, tx)
				return err
			}
		},
		"SaveAndRecord": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			tx, id := transaction(b, db), Person(b, db).Account.ID
			return func(ctx context.Context) error {
				err := db.Atomically(ctx, func(ctx context.Context) error {
					return errors.Join(db.Record(ctx, event(id, audit.SigninFirst, Start)), second(db.SaveTransaction(ctx, tx)))
				})
				tx.Version++
				return err
			}
		},
		"AccountByNationalID": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			r := Person(b, db)
			return func(ctx context.Context) error { return second(db.AccountByNationalID(ctx, r.Person.NationalID)) }
		},
		"Account": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			r := Person(b, db)
			return func(ctx context.Context) error { return second(db.Account(ctx, r.Account.ID)) }
		},
		"Take": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			return func(ctx context.Context) error { return second(db.Take(ctx, "k", l, Start)) }
		},
		"TakeAndClear": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				return errors.Join(second(db.Take(ctx, "k", l, Start)), db.Clear(ctx, "k"))
			}
		},
		"Hit": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			return func(ctx context.Context) error { return second(db.Hit(ctx, "k", ws, Start)) }
		},
		"OpenTicket": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			r := Person(b, db)
			return func(ctx context.Context) error {
				return second(db.Tickets("sms").Open(ctx, ticket(uuid.NewString()), &factors.Message{Account: r.Account.ID, Channel: "sms", Text: "123456", Deadline: Start.Add(time.Minute)}))
			}
		},
		"EnqueueClaimSent": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				err := db.Enqueue(ctx, message(Start))
				ms, err2 := db.Claim(ctx, 10, nil, Start)
				for _, m := range ms {
					err = errors.Join(err, db.Sent(ctx, m.ID, "g", Start))
				}
				return errors.Join(err, err2)
			}
		},
		"Credentials": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			c, id := db.Credentials("password"), Person(b, db).Account.ID
			ok(b, second(c.Create(bg, factors.Credential{Account: id, Data: make([]byte, 120)})))
			return func(ctx context.Context) error { return second(c.Of(ctx, id)) }
		},
		"SessionByToken": func(b *testing.B, db *storage.DB) func(ctx context.Context) error {
			s := Session(b, db, Person(b, db).Account.ID)
			return func(ctx context.Context) error { return second(db.SessionByToken(ctx, secret.Hash(s.ID))) }
		},
	} {
		b.Run(name, func(b *testing.B) {
			benchmark(b, func(b *testing.B, db *storage.DB, measure func(func())) {
				run, ctx := prepare(b, db), request(b)
				measure(func() { ok(b, run(ctx)) })
			})
		})
	}
}
