package device_test

import (
	"testing"

	"github.com/kapi-id/kapi/internal/fault"
)

// The acr/amr table: the browser that holds the key confirms by itself after a password and after a mobile signature. After a bank or a card
// its page gets nothing to sign, and a signature is no answer.
func TestP14_WhatTheDeviceItselfFollows(t *testing.T) {
	for first, alone := range map[string]bool{"password": true, "mobilesign": true, "": true, "banking": false, "esign": false, "idcard": false, "new": false} {
		b, try := newBench(t), at("t1", "b1")
		challenge := b.begin(try).Challenge
		try.First = first
		if v := b.begin(try); (v.Challenge != "") != alone || !v.Waiting {
			t.Errorf("after %q: the page %+v", first, v)
		}
		p, err := b.verify(try, b.dev.Here(challenge))
		if alone != (err == nil) {
			t.Errorf("after %q: %+v, %v", first, p, err)
		}
		if err != nil && fault.Of(err).Key != "device.not_here" {
			t.Errorf("after %q: %v", first, err)
		}
	}
}
