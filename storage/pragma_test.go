package storage

import (
	"strings"
	"testing"
)

// TestO10_Pragmas: what was committed survives a power cut (full), readers and the writer do not stop one another (wal),
// and no connection for reading can write.
func TestO10_Pragmas(t *testing.T) {
	db := opened(t)["sqlite"]
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "query_only": "0", "busy_timeout": "5000"} {
		var got string
		if err := db.write.Raw("PRAGMA " + pragma).Row().Scan(&got); err != nil || got != want {
			t.Errorf("writing: %s is %s, want %s: %v", pragma, got, want, err)
		}
	}
	var got string
	if err := db.read.Raw("PRAGMA query_only").Row().Scan(&got); err != nil || got != "1" {
		t.Errorf("reading: query_only is %s: %v", got, err)
	}
	if err := db.read.Exec("DELETE FROM readiness").Error; err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a reader wrote: %v", err)
	}
}
