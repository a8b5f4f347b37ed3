package loginui

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// faultKey finds the sentences that faults name in the source.
var faultKey = regexp.MustCompile(`fault\.(?:New|Wrap)\(fault\.\w+,\s*"([^"]+)"`)

// Every sentence that a fault of the program names is in a catalogue, so that nobody ever reads a key.
func TestEveryFaultHasWords(t *testing.T) {
	keys, words := map[string]string{}, map[string]json.RawMessage{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != ".." && strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		source := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
		catalogue := strings.HasPrefix(d.Name(), "words") && strings.HasSuffix(path, ".json")
		if !source && !catalogue {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if catalogue {
			return json.Unmarshal(b, &words)
		}
		for _, m := range faultKey.FindAllSubmatch(b, -1) {
			keys[string(m[1])] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) < 20 || len(words) < 100 {
		t.Fatalf("only %d keys and %d sentences found: the search is broken", len(keys), len(words))
	}
	for key, path := range keys {
		if _, ok := words[key]; !ok {
			t.Errorf("%s names %q, which no words.json has", path, key)
		}
	}
}
