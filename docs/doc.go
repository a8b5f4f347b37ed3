// Package docs owns what people read before the code: how to integrate, operate, attack and walk through Kapi. Its tests
// keep the pages true: the listings of relying-party.md run, links lead somewhere, tables name what the program takes, and
// each row of threats.md has its test. It refuses to be imported: it holds no code.
package docs
