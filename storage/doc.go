// Package storage owns every row: gorm on SQLite (one node, embedded) or Postgres (any number of replicas). Enter with
// Open, then Migrate, then Unlock; the *DB implements the Store that each package declares, one file for one aggregate.
// It refuses to work on a schema it does not know, to keep personal data or a usable token in clear, to treat an empty
// id as a condition, and to read a clock of its own: every time is UTC microseconds and comes from the caller.
//
// A statement that stands alone commits by itself; Atomically joins several. Rows that decide something (a code, a try,
// a lock, a revocation) change by one conditional write whose affected row is the answer.
package storage
