// Package place owns turning a network address into a place in words, such as "Ankara, Türkiye". Enter with Open, which
// reads an MMDB file whose records have the usual shape: city, subdivisions and country, each with names by language. It
// refuses a file that names no place, and it never guesses: of what the file does not know, the network itself is shown.
package place

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// lookEvery bounds how long a file that changed goes unnoticed.
const lookEvery = 10 * time.Second

// File is an MMDB file that is followed when it changes. It may be used by any number of goroutines.
type File struct {
	path string
	now  func() time.Time
	log  *slog.Logger
	db   atomic.Pointer[maxminddb.Reader]

	mu     sync.Mutex // held by the one who looks; all others go on with what there is
	looked time.Time
	seen   stamp // of the file in use or last refused
}

// stamp tells one state of a file from another. A restored older file is a change too.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the file.
func Open(path string, now func() time.Time, log *slog.Logger) (*File, error) {
	f := &File{path: path, now: now, log: log, looked: now()}
	var err error
	if f.seen, err = stampOf(path); err != nil {
		return nil, err
	}
	db, err := read(path)
	if err != nil {
		return nil, err
	}
	f.db.Store(db)
	return f, nil
}

func stampOf(path string) (stamp, error) {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{st.ModTime(), st.Size()}, nil
}

// read takes the whole file into memory. Mapping it instead would let somebody who cuts it short in place stop the process
// (SIGBUS).
func read(path string) (*maxminddb.Reader, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	db, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no MMDB file, or a part of one is missing: %w", path, err)
	}
	for r := range db.Networks() {
		var found record
		if err := r.Decode(&found); err != nil {
			return nil, fmt.Errorf("%s is broken: %w", path, err)
		}
		if found.text("en") != "" {
			return db, nil
		}
	}
	return nil, fmt.Errorf("%s names no place: want an MMDB file with the names of cities or countries", path)
}

// record is what is read of a network.
type record struct {
	City         named   `maxminddb:"city"`
	Subdivisions []named `maxminddb:"subdivisions"`
	Country      named   `maxminddb:"country"`
}

type named struct {
	Names map[string]string `maxminddb:"names"`
}

// in is the name in a language, or in English where the file lacks it, as many do for Turkish.
func (n named) in(lang string) string {
	if s := n.Names[lang]; s != "" {
		return s
	}
	return n.Names["en"]
}

// text is "city, country", with the largest subdivision where no city is known; "" for nothing known.
func (r record) text(lang string) string {
	near, country := r.City.in(lang), r.Country.in(lang)
	if near == "" && len(r.Subdivisions) > 0 {
		near = r.Subdivisions[0].in(lang)
	}
	switch {
	case near == "" || country == "":
		return near + country
	case near == country: // city states
		return country
	}
	return near + ", " + country
}

// Of names the place of a network (an IPv4 address or an IPv6 prefix) in a language; the network itself where the file does
// not know it.
func (f *File) Of(network, lang string) string {
	addr, err := netip.ParseAddr(network)
	if err != nil {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return network
		}
		addr = prefix.Addr()
	}
	var found record
	if err := f.current().Lookup(addr).Decode(&found); err != nil { // broken further in, or IPv6 asked of an IPv4 file
		return network
	}
	if s := found.text(lang); s != "" {
		return s
	}
	return network
}

// current is the file as it is now. A new one that is broken or still being copied is refused and the old one kept.
func (f *File) current() *maxminddb.Reader {
	if f.mu.TryLock() {
		defer f.mu.Unlock()
		f.follow()
	}
	return f.db.Load()
}

func (f *File) follow() {
	now := f.now()
	if now.Sub(f.looked) < lookEvery && !now.Before(f.looked) {
		return
	}
	f.looked = now
	seen, err := stampOf(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && seen == f.seen {
		return // gone for a moment while it is replaced
	}
	f.seen = seen
	db, err := read(f.path)
	if err != nil {
		f.log.Error("the new file of places is refused, the old one stays", "err", err)
		return
	}
	f.log.Info("new file of places", "built", db.Metadata.BuildTime().UTC())
	f.db.Store(db)
}
