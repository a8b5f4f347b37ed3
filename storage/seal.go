package storage

import (
	"encoding/json"
	"fmt"
)

// sealJSON seals v for "table.column:rowid".
func (db *DB) sealJSON(column, id string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("storage: %s: %w", column, err)
	}
	return db.keys().Seal(column+":"+id, plain), nil
}

// unsealJSON opens what sealJSON made for the same place.
func (db *DB) unsealJSON(column, id string, sealed []byte, v any) error {
	plain, err := db.keys().Unseal(column+":"+id, sealed)
	if err == nil {
		err = json.Unmarshal(plain, v)
	}
	if err != nil {
		return fmt.Errorf("storage: %s of %s: %w", column, id, err)
	}
	return nil
}
