package storagetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/keyring"
	"github.com/kapi-id/kapi/storage"
)

func client() clients.Client {
	return clients.Client{
		ID: "rp-" + uuid.NewString(), Name: map[string]string{"": "Example", "tr": "Örnek"}, Institution: "I", AuthMethod: "client_secret_basic",
		Secrets: []clients.Secret{{MAC: []byte{1, 2, 3}}, {MAC: []byte{4}, ExpiresAt: Start}}, RedirectURIs: []string{"https://rp.example/cb"},
		GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, IDTokenAlg: "ES256", Pairwise: true, Sector: "rp.example",
		JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}, RequirePKCE: true, Consent: "none", MinACR: acr.Low, AccessTokenTTL: 5 * time.Minute,
		AllowedFirst: []string{}, MFARequiredFrom: Start, Raw: []byte(`{"client_id":"rp"}`),
	}
}

func registrations(t *testing.T, b *backend) {
	db := b.db
	c := client()
	_, err := db.Client(bg, c.ID)
	want(t, "unknown", err, fault.ErrNotFound)
	ok(t, db.SaveClient(bg, c))
	want(t, "made twice", db.SaveClient(bg, c), fault.ErrConflict)
	c.Version = 1
	got, err := db.Client(bg, c.ID)
	ok(t, err)
	if !reflect.DeepEqual(got, c) {
		t.Errorf("client\n got %+v\nwant %+v", got, c)
	}
	c.Name[""] = "Renamed"
	once(t, 10, fault.ErrConflict, func(int) error { return db.SaveClient(bg, c) })
	c.Version = 2
	other := client()
	ok(t, db.SaveClient(bg, other))
	all, err := db.Clients(bg)
	ok(t, err)
	found := 0
	for i, one := range all {
		if i > 0 && all[i-1].ID >= one.ID {
			t.Error("not by id")
		}
		if one.ID == c.ID && reflect.DeepEqual(one, c) || one.ID == other.ID {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 listed", found)
	}
}

// logo is a picture as far as the store is concerned.
func logo(content string) clients.Logo {
	sum := sha256.Sum256([]byte(content))
	return clients.Logo{Hash: hex.EncodeToString(sum[:]), Width: 64, Height: 48, Size: len(content), PNG: []byte(content)}
}

func clientLogo(t *testing.T, b *backend) {
	url := b.url(t)
	db := Open(t, url, b.clock)
	ctx, stop := context.WithCancel(bg)
	defer stop()
	cache, err := db.CachedClients(ctx)
	ok(t, err)
	served := func(l clients.Logo, wanted bool, cost int64) {
		t.Helper()
		counted, n := storage.CountStatements(ctx)
		png, err := cache.Logo(counted, l.Hash)
		if wanted && (err != nil || string(png) != string(l.PNG)) {
			t.Errorf("%q: %q %v", l.PNG, png, err)
		}
		if !wanted {
			want(t, "no such logo", err, fault.ErrNotFound)
		}
		if n.Statements() != cost {
			t.Errorf("%d statements, want %d", n.Statements(), cost)
		}
	}
	bare, first, second := client(), logo("first \x00 picture"), logo("second picture")
	a, twin := client(), client()
	a.Logo, twin.Logo = first, first
	for _, c := range []clients.Client{bare, a, twin} {
		ok(t, cache.SaveClient(bg, c))
	}
	for _, c := range []clients.Client{bare, a} { // the registration says which, without the picture
		got, err := db.Client(bg, c.ID)
		ok(t, err)
		if got.Logo.String() != c.Logo.String() || got.Logo.PNG != nil {
			t.Errorf("%+v, want %s", got.Logo, c.Logo)
		}
	}
	all, err := db.Clients(bg)
	ok(t, err)
	for _, c := range all {
		if c.Logo.PNG != nil {
			t.Error("a list brings pictures")
		}
	}
	served(first, true, 1)
	served(first, true, 0)
	served(second, false, 0)
	served(clients.Logo{}, false, 0)
	_, err = db.ClientLogo(bg, "")
	want(t, "empty", err, fault.ErrNotFound)
	_, err = db.ClientLogo(bg, "nobody")
	want(t, "unknown", err, fault.ErrNotFound)
	if png, err := db.ClientLogo(bg, bare.ID); err != nil || len(png) != 0 {
		t.Errorf("a client without one: %q %v", png, err)
	}

	// What is changed as it was read keeps its picture.
	a, err = db.Client(bg, a.ID)
	ok(t, err)
	a.Institution = "Another"
	ok(t, cache.SaveClient(bg, a))
	if png, err := db.ClientLogo(bg, a.ID); err != nil || string(png) != string(first.PNG) {
		t.Errorf("a change took the picture: %q %v", png, err)
	}
	a.Version, a.Logo = a.Version+1, second
	ok(t, cache.SaveClient(bg, a))
	served(second, true, 1)
	served(first, true, 0) // the twin's
	a.Version, a.Logo = a.Version+1, clients.Logo{}
	ok(t, cache.SaveClient(bg, a))
	served(second, false, 0)
	if png, err := db.ClientLogo(bg, a.ID); err != nil || len(png) != 0 {
		t.Errorf("a logo that was removed is still there: %q %v", png, err)
	}
	orphan := client()
	orphan.Logo = clients.Logo{Hash: first.Hash, Width: 64, Height: 48, Size: 1}
	if db.SaveClient(bg, orphan) == nil {
		t.Error("a logo was registered without its picture")
	}

	// What another process put in its place is not served under the old address, which browsers keep for ever.
	late, err := Open(t, url, b.clock).CachedClients(ctx)
	ok(t, err)
	twin.Version, twin.Logo = 1, second
	ok(t, db.SaveClient(bg, twin))
	_, err = late.Logo(bg, first.Hash)
	want(t, "replaced meanwhile", err, fault.ErrNotFound)
	ok(t, late.Refresh(bg))
	if png, err := late.Logo(bg, second.Hash); err != nil || string(png) != string(second.PNG) {
		t.Errorf("the new one: %q %v", png, err)
	}
}

// eventually waits for a signal that fails the test only when it never comes.
func eventually(t *testing.T, what string, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(time.Minute):
		t.Fatalf("never: %s", what)
	}
}

func clientCache(t *testing.T, b *backend) {
	url := b.url(t)
	here, there := Open(t, url, b.clock), Open(t, url, b.clock)
	ctx, stop := context.WithCancel(bg)
	defer stop()
	a := client()
	ok(t, here.SaveClient(bg, a))
	cache, err := there.CachedClients(ctx)
	ok(t, err)
	counted, n := storage.CountStatements(ctx)
	got, err := cache.Client(counted, a.ID)
	ok(t, err)
	if got.ID != a.ID {
		t.Error("another client")
	}
	_, err = cache.Client(counted, "none")
	want(t, "unknown", err, fault.ErrNotFound)
	_, err = cache.Client(counted, "")
	want(t, "empty", err, fault.ErrNotFound)
	if all, err := cache.Clients(counted); err != nil || len(all) != 1 {
		t.Errorf("list %v %v", all, err)
	}
	if n.Statements() != 0 {
		t.Errorf("%d statements", n.Statements())
	}

	// What is written here is known here at once, but only if it commits.
	own := client()
	errStop := errors.New("stop")
	want(t, "rolled back", there.Atomically(bg, func(ctx context.Context) error {
		return errors.Join(cache.SaveClient(ctx, own), errStop)
	}), errStop)
	_, err = cache.Client(ctx, own.ID)
	want(t, "rolled back", err, fault.ErrNotFound)
	ok(t, cache.SaveClient(bg, own))
	_, err = cache.Client(ctx, own.ID)
	want(t, "written through", err, nil)

	// What another process writes is known soon.
	heard := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		there.Watch(ctx, func(topic string) { cache.Changed(topic); heard <- struct{}{} })
	}()
	eventually(t, "first look", heard)
	foreign := client()
	ok(t, here.SaveClient(bg, foreign))
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err = cache.Client(ctx, foreign.ID); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other process's client never came")
		}
		select {
		case <-heard:
		case <-time.After(10 * time.Millisecond):
		}
	}

	// A look that began earlier never takes back what a later one saw.
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				_ = cache.Refresh(ctx)
			}
		})
	}
	for range 50 {
		next := client()
		ok(t, here.SaveClient(bg, next))
		ok(t, cache.Refresh(bg))
		for range 3 {
			if _, err = cache.Client(ctx, next.ID); err != nil {
				t.Fatal("a client was known and is forgotten")
			}
			runtime.Gosched()
		}
	}
	stop()
	others.Wait()
	eventually(t, "Watch ends with its ctx", ended)
}

func watch(t *testing.T, b *backend) {
	url := b.url(t)
	here, there := Open(t, url, b.clock), Open(t, url, b.clock)
	ctx, stop := context.WithCancel(bg)
	defer stop()
	topics := map[string]chan struct{}{storage.TopicClients: make(chan struct{}, 100), storage.TopicSigningKeys: make(chan struct{}, 100)}
	go there.Watch(ctx, func(topic string) { topics[topic] <- struct{}{} })
	for topic, heard := range topics {
		eventually(t, "first look at "+topic, heard)
	}
	ok(t, here.CreateSigningKey(bg, keyring.Stored{KID: uuid.NewString(), Sealed: []byte("x")}))
	eventually(t, "a new key", topics[storage.TopicSigningKeys])
	if len(topics[storage.TopicClients]) != 0 {
		t.Error("a key is told as a client")
	}
	ok(t, there.SaveClient(bg, client()))
	eventually(t, "an own change", topics[storage.TopicClients])
}

func signingKeys(t *testing.T, b *backend) {
	db := Open(t, b.url(t), b.clock)
	k := keyring.Stored{KID: "k2", Alg: "ES256", State: "created", Sealed: []byte("sealed"), CreatedAt: Start.Add(time.Second)}
	ok(t, db.CreateSigningKey(bg, k))
	ok(t, db.CreateSigningKey(bg, keyring.Stored{KID: "k1", Alg: "RS256", State: "active", Sealed: []byte("s"), CreatedAt: Start}))
	want(t, "a kid twice", db.CreateSigningKey(bg, k), fault.ErrConflict)
	k.Version, k.State = 1, "published"
	k.PublishedAt, k.ActivatesAt, k.RetiresAt, k.RemoveAt = Start.Add(1*time.Hour), Start.Add(2*time.Hour), Start.Add(3*time.Hour), Start.Add(4*time.Hour)
	once(t, 10, fault.ErrConflict, func(int) error { return db.UpdateSigningKey(bg, k) })
	k.Version = 2
	all, err := db.SigningKeys(bg)
	ok(t, err)
	if len(all) != 2 || all[0].KID != "k1" || !reflect.DeepEqual(all[1], k) {
		t.Errorf("keys %+v", all)
	}
	k.State, k.Sealed = "removed", nil
	ok(t, db.UpdateSigningKey(bg, k))
	if all, err = db.SigningKeys(bg); err != nil || all[1].State != "removed" || len(all[1].Sealed) != 0 || len(all[0].Sealed) == 0 {
		t.Errorf("a removed key and its neighbour: %+v %v", all, err)
	}
	want(t, "an unknown key", db.UpdateSigningKey(bg, keyring.Stored{KID: "k3"}), fault.ErrConflict)
}
