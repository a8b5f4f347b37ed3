package device_test

import (
	"net/http"
	"testing"
)

func conforms(t testing.TB) func(*http.Request, []byte, int, http.Header, []byte) { return nil }
