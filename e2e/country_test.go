package e2e

var cleanBinary = func() {}
