package portal

import (
	_ "embed"
	"encoding/json"
)

//go:embed pages/sentences.json
var list []byte

type sentence struct{ Tr, En string }

// sentences by key, in both languages.
var sentences = func() (s map[string]sentence) {
	if err := json.Unmarshal(list, &s); err != nil {
		panic(err) // a broken build, met by the first test
	}
	return s
}()

// say is a sentence of the portal. An unknown key shows itself; a test holds the templates to the list.
func say(lang, key string) string {
	s, ok := sentences[key]
	switch {
	case !ok:
		return key
	case lang == "en":
		return s.En
	}
	return s.Tr
}
