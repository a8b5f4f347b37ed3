package device_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/kapi-id/kapi/factors/device/devicetest"
)

// contract is what every exchange of every test here is held against.
var contract *devicetest.Contract

func TestMain(m *testing.M) {
	var err error
	if contract, err = devicetest.LoadContract("../../docs/openapi/device.yaml"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func conforms(t testing.TB) func(*http.Request, []byte, int, http.Header, []byte) {
	return func(r *http.Request, body []byte, status int, header http.Header, answer []byte) {
		if err := contract.Check(r, body, status, header, answer); err != nil {
			t.Errorf("against docs/openapi/device.yaml: %v", err)
		}
	}
}
