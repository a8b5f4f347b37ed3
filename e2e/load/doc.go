// Package load owns the numbers of docs/performance.md: CPU time and statements of each operation, measured on a server in
// a process of its own and on a real Postgres. Enter with make bench. It refuses to decide anything: no test passes or fails by
// what it measures.
package load
