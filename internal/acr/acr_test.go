package acr

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Level{
		"low": Low, "substantial": Substantial, "high": High, "urn:kapi:loa:low": Low, "urn:kapi:loa:substantial": Substantial, "urn:kapi:loa:high": High,
	} {
		if got, ok := Parse(in); !ok || got != want {
			t.Errorf("%q: %v %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "LOW", "urn:kapi:loa:", "urn:kapi:loa:highest", "0", "none"} {
		if got, ok := Parse(in); ok || got != None {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestWeakest(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want Level
	}{
		{nil, None},
		{[]string{"what", "ever"}, None},
		{[]string{"high", "substantial"}, Substantial},
		{[]string{"what", "urn:kapi:loa:high"}, High},
	} {
		if got := Weakest(tc.in); got != tc.want {
			t.Errorf("%v: %v", tc.in, got)
		}
	}
}

func TestWeakestName(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want Level
	}{
		{[]string{"low", "substantial"}, None},
		{[]string{"low", "urn:kapi:loa:high", "urn:kapi:loa:substantial"}, Substantial},
		{[]string{""}, None},
	} {
		if got := WeakestName(tc.in); got != tc.want {
			t.Errorf("%v: %v", tc.in, got)
		}
	}
}

func TestUpto(t *testing.T) {
	for most, want := range []string{"[]", "[urn:kapi:loa:low]", "[urn:kapi:loa:low urn:kapi:loa:substantial]", "[urn:kapi:loa:low urn:kapi:loa:substantial urn:kapi:loa:high]"} {
		if got := fmt.Sprint(Upto(Level(most))); got != want {
			t.Errorf("%d: %s", most, got)
		}
	}
}

func TestText(t *testing.T) {
	var v struct{ A, B Level }
	if err := json.Unmarshal([]byte(`{"A":"high","B":""}`), &v); err != nil || v.A != High || v.B != None {
		t.Errorf("%+v %v", v, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"highest"}`), &v); err == nil {
		t.Error("guessed a level")
	}
	if b, err := json.Marshal(Substantial); err != nil || string(b) != `"substantial"` {
		t.Errorf("%s %v", b, err)
	}
	if Level(9).String() != "" || Level(9).Short() != "" {
		t.Error("an unknown level has a name")
	}
}
