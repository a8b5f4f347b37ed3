package place

import (
	"bytes"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/places.mmdb anew")

// names of a thing; tr may be "".
func names(en, tr string) map[string]any {
	n := map[string]any{"en": en}
	if tr != "" {
		n["tr"] = tr
	}
	return map[string]any{"names": n}
}

var turkey = names("Türkiye", "Türkiye")

// country is a small world for this test and for those of whole programs, which come from loopback.
func country() map[string]any {
	return map[string]any{
		"127.0.0.0/8":     map[string]any{"city": names("Ankara", "Ankara"), "country": turkey},
		"192.0.2.0/25":    map[string]any{"city": names("Istanbul", "İstanbul"), "subdivisions": []any{names("Istanbul", "İstanbul")}, "country": turkey},
		"192.0.2.128/25":  map[string]any{"subdivisions": []any{names("Izmir Province", "İzmir")}, "country": turkey},
		"198.51.100.0/24": map[string]any{"country": names("Germany", "Almanya")},
		"203.0.113.0/26":  map[string]any{"city": names("Berlin", ""), "country": names("Germany", "")},
		"203.0.113.64/26": map[string]any{"city": names("Singapore", ""), "country": names("Singapore", "")},
		"203.0.113.128/26": map[string]any{"city": names("Springfield", ""), "location": map[string]any{
			"time_zone": "a member that nobody here reads, longer than twenty-eight bytes"}},
		"203.0.113.192/26": map[string]any{"postal": "1"},
		"2001:db8::/32":    map[string]any{"city": names("Bursa", "Bursa"), "country": turkey},
	}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestOf(t *testing.T) {
	const fixture = "testdata/places.mmdb"
	made := mmdb(country())
	if *update {
		if err := os.WriteFile(fixture, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(fixture); err != nil || !bytes.Equal(kept, made) {
		t.Fatalf("%s is not what this test makes (%v): run with -update", fixture, err)
	}
	f, err := Open(fixture, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ network, tr, en string }{
		{"127.0.0.1", "Ankara, Türkiye", "Ankara, Türkiye"},
		{"192.0.2.1", "İstanbul, Türkiye", "Istanbul, Türkiye"},
		{"192.0.2.129", "İzmir, Türkiye", "Izmir Province, Türkiye"},
		{"198.51.100.7", "Almanya", "Germany"},
		{"203.0.113.1", "Berlin, Germany", "Berlin, Germany"}, // no Turkish name in the file
		{"203.0.113.65", "Singapore", "Singapore"},
		{"203.0.113.129", "Springfield", "Springfield"},
		{"203.0.113.200", "203.0.113.200", "203.0.113.200"}, // known, but not where
		{"2001:db8:1:2::/64", "Bursa, Türkiye", "Bursa, Türkiye"},
		{"2001:db9::/64", "2001:db9::/64", "2001:db9::/64"},
		{"8.8.8.8", "8.8.8.8", "8.8.8.8"},
		{"", "", ""},
		{"<b>", "<b>", "<b>"},
	} {
		if tr, en := f.Of(tc.network, "tr"), f.Of(tc.network, "en"); tr != tc.tr || en != tc.en {
			t.Errorf("%q is in %q and %q, want %q and %q", tc.network, tr, en, tc.tr, tc.en)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	whole := mmdb(country())
	wild := mmdb(map[string]any{"192.0.2.0/24": map[string]any{"city": "not a map"}})
	for _, tc := range []struct {
		name    string
		content []byte
		err     string
	}{
		{"nothing", nil, "no MMDB file"},
		{"text", []byte("places: none\n"), "no MMDB file"},
		{"the first half", whole[:len(whole)/2], "no MMDB file"},
		{"the second half", whole[len(whole)/2:], "places.mmdb"},
		{"another kind", mmdb(map[string]any{"192.0.2.0/24": map[string]any{"autonomous_system_number": uint32(64500)}}), "names no place"},
		{"another shape", wild, "is broken"},
		{"an empty tree", mmdb(nil), "names no place"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "places.mmdb")
			if err := os.WriteFile(path, tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, time.Now, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want an error with %q", err, tc.err)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), time.Now, slog.New(slog.DiscardHandler)); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTheFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "places.mmdb")
	minute := 0
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		minute++
		at := time.Unix(1_780_000_000, 0).Add(time.Duration(minute) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	in := func(city string) []byte {
		return mmdb(map[string]any{"192.0.2.0/24": map[string]any{"city": names(city, "")}})
	}
	write(in("Sivas"))
	c := &clock{now: time.Unix(1_780_000_000, 0)}
	var log bytes.Buffer
	f, err := Open(path, c.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	is := func(when, want string) {
		t.Helper()
		if got := f.Of("192.0.2.1", "tr"); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	is("at first", "Sivas")
	write(in("Konya"))
	is("before it is looked at again", "Sivas")
	c.Add(lookEvery)
	is("changed", "Konya")
	write([]byte("half a copy"))
	c.Add(lookEvery)
	is("broken", "Konya")
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("%d complaints: %s", n, log.String())
	}
	c.Add(lookEvery)
	is("broken still", "Konya")
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("the same file was complained about %d times", n)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.Add(lookEvery)
	is("gone", "Konya")
	write(in("Van"))
	c.Add(lookEvery)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if got := f.Of("192.0.2.1", "tr"); got != "Konya" && got != "Van" {
					t.Errorf("while it is replaced: %q", got)
				}
			}
		})
	}
	all.Wait()
	is("back", "Van")
}
