package factors

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kapi-id/kapi/internal/acr"
)

// Registry is the list of factors of this installation, checked once at the start: a bad entry stops it, so that a
// factor can never vanish silently.
type Registry struct {
	byName map[string]Factor
	order  []Factor
}

// NewRegistry checks the list: names that are folder names, no name twice, a stage, a page.html and words.json each.
func NewRegistry(list ...Factor) (*Registry, error) {
	r := &Registry{byName: map[string]Factor{}, order: slices.Clone(list)}
	for _, f := range list {
		i := f.Info()
		switch {
		case !plain(i.Name):
			return nil, fmt.Errorf("factor %q: a name is 2 to 32 lower-case letters", i.Name)
		case r.byName[i.Name] != nil:
			return nil, fmt.Errorf("factor %s stands twice in the list", i.Name)
		case i.Stage != First && i.Stage != Second:
			return nil, fmt.Errorf("factor %s: stage is First or Second", i.Name)
		}
		for _, file := range []string{"page.html", "words.json"} {
			if _, err := fs.Stat(f.Pages(), file); err != nil {
				return nil, fmt.Errorf("factor %s: %w", i.Name, err)
			}
		}
		r.byName[i.Name] = f
	}
	slices.SortStableFunc(r.order, func(a, b Factor) int {
		return cmp.Or(cmp.Compare(a.Info().Stage, b.Info().Stage), cmp.Compare(a.Info().Order, b.Info().Order))
	})
	return r, nil
}

// Get returns the factor of that name, nil if there is none.
func (r *Registry) Get(name string) Factor { return r.byName[name] }

// All returns the factors of a stage in the order to offer; with stage 0, all.
func (r *Registry) All(stage Stage) []Factor {
	var out []Factor
	for _, f := range r.order {
		if stage == 0 || f.Info().Stage == stage {
			out = append(out, f)
		}
	}
	return out
}

// Highest is the level that a sign-in can reach with these factors: a stronger first one alone, or one of each stage, which are of
// different kinds.
func (r *Registry) Highest() acr.Level {
	most := acr.None
	for _, f := range r.All(First) {
		most = max(most, f.Info().Level, acr.Low)
	}
	if most == acr.Low && len(r.All(Second)) > 0 {
		most = acr.Substantial
	}
	return most
}

func plain(name string) bool {
	if len(name) < 2 || len(name) > 32 {
		return false
	}
	for _, c := range name {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
