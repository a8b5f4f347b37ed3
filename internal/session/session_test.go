package session

import (
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
)

func TestAlive(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		s    Session
		want bool
	}{
		"in use":           {Session{SeenAt: now.Add(-29 * time.Minute), ExpiresAt: now.Add(time.Second)}, true},
		"idle":             {Session{SeenAt: now.Add(-30 * time.Minute), ExpiresAt: now.Add(time.Hour)}, false},
		"high, in use":     {Session{Level: acr.High, SeenAt: now.Add(-14 * time.Minute), ExpiresAt: now.Add(time.Hour)}, true},
		"high, idle":       {Session{Level: acr.High, SeenAt: now.Add(-15 * time.Minute), ExpiresAt: now.Add(time.Hour)}, false},
		"over":             {Session{SeenAt: now, ExpiresAt: now}, false},
		"ended":            {Session{SeenAt: now, ExpiresAt: now.Add(time.Hour), EndedAt: now.Add(-time.Minute)}, false},
		"the zero session": {Session{}, false},
	} {
		if got := tc.s.Alive(now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAuthTimeIsTheLatestProof(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	s := Session{Proofs: []factors.Proof{{At: at.Add(time.Minute)}, {At: at}}}
	if got := s.AuthTime(); !got.Equal(at.Add(time.Minute)) {
		t.Error(got)
	}
	if !(Session{}).AuthTime().IsZero() {
		t.Error("nothing was proven")
	}
}
