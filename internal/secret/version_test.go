package secret

import (
	"bytes"
	"testing"
)

func TestMACUnderAVersion(t *testing.T) {
	r := Ephemeral()
	now := r.MACUnder(Pepper, r.Newest(Pepper), "a", "b")
	if !bytes.Equal(now, r.MAC(Pepper, "a", "b")) {
		t.Error("the newest version differs from MAC")
	}
	old := r.by[Pepper].keys[1]
	r.by[Pepper] = versions{newest: 2, keys: map[uint32][]byte{1: old, 2: random()}}
	if r.Newest(Pepper) != 2 || bytes.Equal(now, r.MAC(Pepper, "a", "b")) {
		t.Error("a renewed key gives the old MAC")
	}
	if !bytes.Equal(now, r.MACUnder(Pepper, 1, "a", "b")) {
		t.Error("the old version cannot be made again")
	}
	if r.MACUnder(Pepper, 3, "a") != nil || r.MACUnder("nothing", 1, "a") != nil {
		t.Error("a MAC under a key that is not there")
	}
}
