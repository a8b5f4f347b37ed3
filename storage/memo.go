package storage

import (
	"context"
	"sync"

	"github.com/kapi-id/kapi/internal/account"
)

type memoKey struct{}

// memo is what one request has read of accounts: several steps of it ask for the same person, and the answer that the first
// one got holds until the request ends. Inside a transaction nothing is remembered and nothing looked up.
type memo struct {
	mu       sync.Mutex
	accounts map[account.ID]account.Account
	contacts map[account.ID][]byte // sealed
	held     map[account.ID][]credentialRow
}

// Remember returns a ctx within which an account, its contacts and its credentials are read once. It is for one request; what the request
// itself changes is forgotten.
func Remember(ctx context.Context) context.Context {
	return context.WithValue(ctx, memoKey{}, &memo{accounts: map[account.ID]account.Account{}, contacts: map[account.ID][]byte{}, held: map[account.ID][]credentialRow{}})
}

// memoOf returns nil where nothing may be remembered; the methods of a nil memo do nothing.
func (db *DB) memoOf(ctx context.Context) *memo {
	if db.tx(ctx) != nil {
		return nil
	}
	m, _ := ctx.Value(memoKey{}).(*memo)
	return m
}

func (m *memo) learn(a account.Account, contacts []byte) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts[a.ID], m.contacts[a.ID] = a, contacts
}

func (m *memo) account(id account.ID) (a account.Account, ok bool) {
	if m == nil {
		return a, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok = m.accounts[id]
	return a, ok
}

func (m *memo) contactsOf(id account.ID) (sealed []byte, ok bool) {
	if m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sealed, ok = m.contacts[id]
	return sealed, ok
}

// hold remembers all credentials of an account.
func (m *memo) hold(id account.ID, all []credentialRow) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[id] = all
}

func (m *memo) credentialsOf(id account.ID) (all []credentialRow, ok bool) {
	if m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all, ok = m.held[id]
	return all, ok
}

// release forgets all credentials, since a write of one does not say whose it is. It is called inside transactions too.
func release(ctx context.Context) {
	m, _ := ctx.Value(memoKey{}).(*memo)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.held)
}

// forget is called inside transactions too.
func forget(ctx context.Context, id account.ID) {
	m, _ := ctx.Value(memoKey{}).(*memo)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.accounts, id)
	delete(m.contacts, id)
	delete(m.held, id)
}
