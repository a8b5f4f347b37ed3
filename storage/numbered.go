package storage

import (
	"strconv"
	"strings"
	"sync"
)

// numberings caches numbered: the program's statements are few. Lists of varying length stay out of it.
var numberings sync.Map

// numbered turns each "?" into $1, $2, … Our statements have no "?" inside literals.
func numbered(query string) string {
	if v, ok := numberings.Load(query); ok {
		return v.(string)
	}
	var b strings.Builder
	n := 0
	for rest := query; ; {
		i := strings.IndexByte(rest, '?')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		n++
		b.WriteString(rest[:i])
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		rest = rest[i+1:]
	}
	out := b.String()
	if n < 50 {
		numberings.Store(query, out)
	}
	return out
}

// marks is "?,?,?" for n values.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }
