package provider

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
)

// memory keeps everything the provider stores, by the contracts of the packages, with real transactions: what fails is
// undone. It counts statements.
type memory struct {
	mu sync.Mutex
	tables
	writes, reads int
	broken        error // every statement fails with it
	withdrawn     bool  // nobody agrees to anything any more
}

type tables struct {
	clients      map[string]clients.Client
	transactions map[string]signin.Transaction
	grants       map[string]grant.Grant
	redeemed     map[string]bool
	access       map[string]grant.Access
	revoked      map[string]bool // access hashes
	once         map[string]bool
	sessions     map[string]session.Session
	tokens       map[string]string // session token hash → id
	accounts     map[account.ID]account.Account
	people       map[account.ID]account.Person
	contacts     map[account.ID]contact.Contacts
	events       []audit.Event
}

func (t tables) clone() tables {
	return tables{
		maps.Clone(t.clients), maps.Clone(t.transactions), maps.Clone(t.grants), maps.Clone(t.redeemed), maps.Clone(t.access),
		maps.Clone(t.revoked), maps.Clone(t.once), maps.Clone(t.sessions), maps.Clone(t.tokens), maps.Clone(t.accounts),
		maps.Clone(t.people), maps.Clone(t.contacts), slices.Clone(t.events),
	}
}

func newMemory() *memory {
	m := &memory{}
	m.tables = tables{
		map[string]clients.Client{}, map[string]signin.Transaction{}, map[string]grant.Grant{}, map[string]bool{},
		map[string]grant.Access{}, map[string]bool{}, map[string]bool{}, map[string]session.Session{}, map[string]string{},
		map[account.ID]account.Account{}, map[account.ID]account.Person{}, map[account.ID]contact.Contacts{}, nil,
	}
	return m
}

type inside struct{}

func (m *memory) Atomically(ctx context.Context, fn func(context.Context) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.tables.clone()
	err := fn(context.WithValue(ctx, inside{}, true))
	if err != nil {
		m.tables = before
	}
	return err
}

// do runs one statement.
func (m *memory) do(ctx context.Context, count *int, fn func() error) error {
	if ctx.Value(inside{}) == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
	}
	*count++
	if m.broken != nil {
		return m.broken
	}
	return fn()
}

func (m *memory) write(ctx context.Context, fn func() error) error { return m.do(ctx, &m.writes, fn) }
func (m *memory) read(ctx context.Context, fn func() error) error  { return m.do(ctx, &m.reads, fn) }

// Client and Clients are the cache: no statement.
func (m *memory) Client(_ context.Context, id string) (clients.Client, error) {
	c, ok := m.clients[id]
	if !ok {
		return c, fault.ErrNotFound
	}
	return c, nil
}

func (m *memory) Clients(context.Context) ([]clients.Client, error) {
	return slices.Collect(maps.Values(m.clients)), nil
}

func (m *memory) SaveClient(context.Context, clients.Client) error {
	return errors.New("the provider saves no client")
}

func (m *memory) CreateTransaction(ctx context.Context, t signin.Transaction) error {
	return m.write(ctx, func() error { m.transactions[t.ID] = t; return nil })
}

func (m *memory) Transaction(ctx context.Context, id string, now time.Time) (t signin.Transaction, err error) {
	err = m.read(ctx, func() error {
		var ok bool
		if t, ok = m.transactions[id]; !ok || !now.Before(t.ExpiresAt) {
			return fault.ErrNotFound
		}
		return nil
	})
	return t, err
}

func (m *memory) SaveTransaction(ctx context.Context, t signin.Transaction) (int64, error) {
	return t.Version + 1, m.write(ctx, func() error { t.Version++; m.transactions[t.ID] = t; return nil })
}

func (m *memory) FinishTransaction(ctx context.Context, id string, browser []byte, now time.Time) (t signin.Transaction, err error) {
	err = m.write(ctx, func() error {
		found, ok := m.transactions[id]
		if !ok || !bytes.Equal(found.Browser, browser) || !now.Before(found.ExpiresAt) ||
			(found.State != signin.Ready && found.State != signin.Refused) {
			return fault.ErrNotFound
		}
		t = found
		found.State = signin.Done
		m.transactions[id] = found
		return nil
	})
	return t, err
}

func (m *memory) CreateGrant(ctx context.Context, g grant.Grant) error {
	return m.write(ctx, func() error { m.grants[g.ID] = g; return nil })
}

// alive: neither revoked nor over, session and account good.
func (m *memory) alive(g grant.Grant, now time.Time) bool {
	s, ok := m.sessions[g.Session]
	return g.RevokedAt.IsZero() && now.Before(g.SessionEnds) && m.accounts[g.Account].State == account.Active && (!ok || s.EndedAt.IsZero())
}

func (m *memory) RedeemCode(ctx context.Context, client string, hash []byte, redirectURI, challenge string, refresh bool, now time.Time) (g grant.Grant, err error) {
	err = m.write(ctx, func() error {
		for _, found := range m.grants {
			if !bytes.Equal(found.Code.Hash, hash) || found.Client != client || found.Code.RedirectURI != redirectURI || found.Code.Challenge != challenge {
				continue
			}
			if g = found; m.redeemed[found.ID] {
				return fault.ErrConflict
			}
			if !now.Before(found.Code.ExpiresAt) || !m.alive(found, now) {
				return fault.ErrNotFound
			}
			if refresh {
				g.Generation, g.RefreshedBy = 1, now.Add(grant.RefreshIdle)
			}
			m.grants[g.ID], m.redeemed[g.ID] = g, true
			return nil
		}
		return fault.ErrNotFound
	})
	return g, err
}

func (m *memory) Rotate(ctx context.Context, client, id string, generation int64, now time.Time) (g grant.Grant, err error) {
	err = m.write(ctx, func() error {
		var ok bool
		g, ok = m.grants[id]
		if !ok || g.Client != client || !m.alive(g, now) || !now.Before(g.RefreshedBy) {
			return fault.ErrNotFound
		}
		if g.Generation != generation {
			return fault.ErrConflict
		}
		g.Generation, g.RotatedAt, g.RefreshedBy = generation+1, now, now.Add(grant.RefreshIdle)
		m.grants[id] = g
		return nil
	})
	return g, err
}

func (m *memory) RevokeGrant(ctx context.Context, client, id string, now time.Time) error {
	return m.write(ctx, func() error {
		if g, ok := m.grants[id]; ok && g.Client == client && g.RevokedAt.IsZero() {
			g.RevokedAt = now
			m.grants[id] = g
		}
		return nil
	})
}

func (m *memory) CreateAccess(ctx context.Context, a grant.Access) error {
	return m.write(ctx, func() error { m.access[string(a.Hash)] = a; return nil })
}

func (m *memory) Living(ctx context.Context, hash []byte, now time.Time) (l grant.Living, err error) {
	err = m.read(ctx, func() error {
		a, ok := m.access[string(hash)]
		if !ok || m.revoked[string(hash)] || !now.Before(a.ExpiresAt) {
			return fault.ErrNotFound
		}
		l.Access = a
		if a.Grant == "" {
			return nil
		}
		g := m.grants[a.Grant]
		if !m.alive(g, now) {
			return fault.ErrNotFound
		}
		l.Grant, l.Person, l.Contacts, l.Locale = g, m.people[g.Account], m.contacts[g.Account], m.accounts[g.Account].Locale
		return nil
	})
	return l, err
}

func (m *memory) Standing(ctx context.Context, hash []byte, now time.Time) (grant.Living, error) {
	l, err := m.Living(ctx, hash, now)
	l.Person, l.Contacts, l.Locale = account.Person{}, contact.Contacts{}, ""
	return l, err
}

func (m *memory) RevokeAccess(ctx context.Context, client string, hash []byte, expires, _ time.Time) error {
	return m.write(ctx, func() error {
		a, ok := m.access[string(hash)]
		if (ok && a.Client == client) || (!ok && !expires.IsZero()) {
			m.revoked[string(hash)] = true
		}
		return nil
	})
}

func (m *memory) AccessRevoked(ctx context.Context, hash []byte) (is bool, err error) {
	err = m.read(ctx, func() error { is = m.revoked[string(hash)]; return nil })
	return is, err
}

func (m *memory) UseOnce(ctx context.Context, kind string, hash []byte, _ time.Time) error {
	return m.write(ctx, func() error {
		if key := kind + string(hash); !m.once[key] {
			m.once[key] = true
			return nil
		}
		return fault.ErrConflict
	})
}

func (m *memory) Consent(context.Context, account.ID, string) ([]string, error) { return nil, nil }

// HoldConsent: everybody agreed to everything, until they withdraw.
func (m *memory) HoldConsent(ctx context.Context, _ account.ID, _ string) (scopes []string, err error) {
	err = m.read(ctx, func() error {
		if !m.withdrawn {
			scopes = []string{"openid", "profile", "email", "phone", "address", "national_id", "offline_access"}
		}
		return nil
	})
	return scopes, err
}

func (m *memory) SaveConsent(context.Context, account.ID, string, []string, time.Time) error {
	return errors.New("the provider asks for no consent")
}

func (m *memory) CreateSession(context.Context, session.Session, []byte, account.Account) error {
	return errors.New("the provider makes no session")
}

func (m *memory) RotateSession(context.Context, session.Session, []byte, account.Account) error {
	return errors.New("the provider changes no session")
}

func (m *memory) TouchSession(context.Context, string, time.Time) error {
	return errors.New("the provider changes no session")
}

func (m *memory) SessionByToken(ctx context.Context, hash []byte) (s session.Session, err error) {
	err = m.read(ctx, func() error {
		var ok bool
		if s, ok = m.sessions[m.tokens[string(hash)]]; !ok {
			return fault.ErrNotFound
		}
		return nil
	})
	return s, err
}

func (m *memory) SessionByID(ctx context.Context, id string) (s session.Session, err error) {
	err = m.read(ctx, func() error {
		var ok bool
		if s, ok = m.sessions[id]; !ok {
			return fault.ErrNotFound
		}
		return nil
	})
	return s, err
}

func (m *memory) VoidProofs(context.Context, account.ID, time.Time) error {
	return errors.New("the provider voids no proofs")
}

func (m *memory) EndSession(ctx context.Context, owner account.ID, id string, at time.Time) error {
	return m.write(ctx, func() error {
		s, ok := m.sessions[id]
		if !ok || s.Account != owner {
			return fault.ErrNotFound
		}
		s.EndedAt = at
		m.sessions[id] = s
		return nil
	})
}

func (m *memory) EndSessions(context.Context, account.ID, string, time.Time) error {
	return errors.New("the provider ends one session at a time")
}

func (m *memory) SessionsOf(context.Context, account.ID, time.Time) ([]session.Session, error) {
	return nil, errors.New("the provider lists no sessions")
}

func (m *memory) Record(ctx context.Context, e audit.Event) error {
	if e.Name.Version() == 0 {
		return errors.New("unregistered event " + string(e.Name))
	}
	return m.write(ctx, func() error { m.events = append(m.events, e); return nil })
}

// count returns how many events of that name there are.
func (m *memory) count(name audit.Name) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.Name == name {
			n++
		}
	}
	return n
}
