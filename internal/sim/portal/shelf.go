package portal

import (
	"sync"
	"time"
)

// shelf keeps values by random key for a while. It is bounded, so that strangers cannot fill the memory.
type shelf[T any] struct {
	life time.Duration
	most int
	now  func() time.Time

	mu   sync.Mutex
	kept map[string]item[T]
}

type item[T any] struct {
	value T
	until time.Time
}

func (s *shelf[T]) put(v T) (key string) {
	key = token()
	s.set(key, v)
	return key
}

func (s *shelf[T]) set(key string, v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.kept == nil {
		s.kept = map[string]item[T]{}
	}
	if len(s.kept) >= s.most {
		s.makeRoom(now)
	}
	s.kept[key] = item[T]{v, now.Add(s.life)}
}

// makeRoom drops what has ended, and the oldest if nothing has.
func (s *shelf[T]) makeRoom(now time.Time) {
	oldest := ""
	for k, it := range s.kept {
		if !it.until.After(now) {
			delete(s.kept, k)
		} else if oldest == "" || it.until.Before(s.kept[oldest].until) {
			oldest = k
		}
	}
	if len(s.kept) >= s.most {
		delete(s.kept, oldest)
	}
}

func (s *shelf[T]) get(key string) (v T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.kept[key]
	if !ok || !it.until.After(s.now()) {
		return v, false
	}
	return it.value, true
}

// take gets a value and removes it: what is answered once is not answered again.
func (s *shelf[T]) take(key string) (v T, ok bool) {
	v, ok = s.get(key)
	s.drop(key)
	return v, ok
}

func (s *shelf[T]) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, key)
}
