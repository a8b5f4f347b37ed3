// Package program is the kapi program: its commands, its settings, and the one place where all parts are put together.
//
// Enter with Main; tests that need a complete Kapi enter with New and App. factors.go is the list of factors. The package
// refuses to start on anything unknown or inconsistent, saying what and how to mend it.
package program
