package signin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
)

// The proofs that the factors of the acr/amr table give. Those that no folder makes yet stand here as facts.
var (
	password = proof("password", factors.First, factors.Know, factors.Here, acr.Low, "pwd")
	bank     = proof("banking", factors.First, factors.Know, factors.Here, acr.Low, "fed")
	esign    = proof("esign", factors.First, factors.Have|factors.Know, factors.Here, acr.High, "sc", "hwk", "pin")
	mobile   = proof("mobilesign", factors.First, factors.Have|factors.Know, factors.Phone, acr.High, "hwk", "pin")

	device   = proof("device", factors.Second, factors.Have, factors.Phone, acr.Low, "swk", "user")
	same     = proof("device", factors.Second, factors.Have, factors.Here, acr.Low, "swk")
	sms      = proof("sms", factors.Second, factors.Have, factors.Phone, acr.Low, "sms")
	bip      = proof("messenger", factors.Second, factors.Have, factors.Phone, acr.Low, "oob")
	backup   = proof("backup", factors.Second, factors.Have, factors.Here, acr.Low, "backup")
	totp     = proof("totp", factors.Second, factors.Have, factors.Here, acr.Low, "otp")
	webauthn = proof("webauthn", factors.Second, factors.Have, factors.Here, acr.Low, "swk", "user")
	attested = proof("webauthn", factors.Second, factors.Have, factors.Here, acr.Low, "hwk", "user")
)

func proof(name string, stage factors.Stage, kinds factors.Kind, channel string, level acr.Level, amr ...string) factors.Proof {
	return factors.Proof{Factor: name, Account: "a1", Stage: stage, Kinds: kinds, Channel: channel, Level: level, AMR: amr, At: time.Unix(1_780_000_000, 0)}
}

func TestP14_TheWholeTable(t *testing.T) {
	for _, tc := range []struct {
		first  factors.Proof
		second []factors.Proof
		amr    string
		acr    acr.Level
	}{
		{password, nil, "pwd", acr.Low},
		{password, []factors.Proof{device}, "pwd swk user mca mfa", acr.Substantial},
		{password, []factors.Proof{same}, "pwd swk mfa", acr.Substantial},
		{password, []factors.Proof{sms}, "pwd sms mca mfa", acr.Substantial},
		{password, []factors.Proof{bip}, "pwd oob mca mfa", acr.Substantial},
		{password, []factors.Proof{backup}, "pwd backup mfa", acr.Substantial},
		{password, []factors.Proof{totp}, "pwd otp mfa", acr.Substantial},
		{password, []factors.Proof{webauthn}, "pwd swk user mfa", acr.Substantial},
		{password, []factors.Proof{attested}, "pwd hwk user mfa", acr.Substantial},
		{bank, nil, "fed", acr.Low},
		{bank, []factors.Proof{device}, "fed swk user mca mfa", acr.Substantial},
		{bank, []factors.Proof{sms}, "fed sms mca mfa", acr.Substantial},
		{bank, []factors.Proof{bip}, "fed oob mca mfa", acr.Substantial},
		{bank, []factors.Proof{backup}, "fed backup mfa", acr.Substantial},
		{bank, []factors.Proof{webauthn}, "fed swk user mfa", acr.Substantial},
		{esign, nil, "sc hwk pin mfa", acr.High},
		{esign, []factors.Proof{device}, "sc hwk pin swk user mca mfa", acr.High},
		{esign, []factors.Proof{sms}, "sc hwk pin sms mca mfa", acr.High},
		{esign, []factors.Proof{bip}, "sc hwk pin oob mca mfa", acr.High},
		{esign, []factors.Proof{backup}, "sc hwk pin backup mfa", acr.High},
		{esign, []factors.Proof{webauthn}, "sc hwk pin swk user mfa", acr.High},
		{esign, []factors.Proof{attested}, "sc hwk pin user mfa", acr.High},
		{mobile, nil, "hwk pin mca mfa", acr.High},
		{mobile, []factors.Proof{device}, "hwk pin swk user mca mfa", acr.High},
		{mobile, []factors.Proof{same}, "hwk pin swk mca mfa", acr.High},
		{mobile, []factors.Proof{sms}, "hwk pin sms mca mfa", acr.High},
		{mobile, []factors.Proof{bip}, "hwk pin oob mca mfa", acr.High},
		{mobile, []factors.Proof{backup}, "hwk pin backup mca mfa", acr.High},
		{mobile, []factors.Proof{webauthn}, "hwk pin swk user mca mfa", acr.High},
	} {
		proofs := append([]factors.Proof{tc.first}, tc.second...)
		t.Run(fmt.Sprint(names(proofs)), func(t *testing.T) {
			if got := strings.Join(Methods(proofs), " "); got != tc.amr {
				t.Errorf("amr %q, want %q", got, tc.amr)
			}
			if got := Reached(proofs, acr.High); got != tc.acr {
				t.Errorf("acr %v, want %v", got, tc.acr)
			}
		})
	}
}

func names(ps []factors.Proof) (out []string) {
	for _, p := range ps {
		out = append(out, p.Factor)
	}
	return out
}

// Every subset of the proofs in every order: no level without a first factor, none above the ceiling, none lost by one
// proof more, no word twice, and the order changes neither.
func TestEveryCombinationAndOrder(t *testing.T) {
	all := []factors.Proof{password, bank, esign, mobile, device, sms, bip, backup, totp, webauthn}
	for set := range 1 << len(all) {
		var ps []factors.Proof
		for i, p := range all {
			if set&(1<<i) != 0 {
				ps = append(ps, p)
			}
		}
		if len(ps) > 4 {
			continue
		}
		want := Reached(ps, acr.High)
		words := slices.Sorted(slices.Values(Methods(ps)))
		if !has(ps, factors.First) && (want != acr.None || words != nil) {
			t.Fatalf("%v: reached %v, %v without a first factor", names(ps), want, words)
		}
		if len(slices.Compact(slices.Clone(words))) != len(words) {
			t.Fatalf("%v: a word stands twice in %v", names(ps), words)
		}
		if mfa := slices.Contains(words, "mfa"); mfa != (want >= acr.Substantial) {
			t.Fatalf("%v: mfa %v at %v", names(ps), mfa, want)
		}
		for ceiling := acr.None; ceiling <= acr.High; ceiling++ {
			if got := Reached(ps, ceiling); got != min(want, ceiling) {
				t.Fatalf("%v: %v under ceiling %v", names(ps), got, ceiling)
			}
		}
		for _, more := range all {
			if has(ps, factors.First) && Reached(append(slices.Clip(ps), more), acr.High) < want {
				t.Fatalf("%v: falls when %s is added", names(ps), more.Factor)
			}
		}
		permute(ps, func(p []factors.Proof) {
			if Reached(p, acr.High) != want || !slices.Equal(slices.Sorted(slices.Values(Methods(p))), words) {
				t.Fatalf("%v: the order counts", names(p))
			}
		})
	}
}

func permute(ps []factors.Proof, f func([]factors.Proof)) {
	var walk func(int)
	walk = func(k int) {
		if k == len(ps) {
			f(ps)
			return
		}
		for i := k; i < len(ps); i++ {
			ps[k], ps[i] = ps[i], ps[k]
			walk(k + 1)
			ps[k], ps[i] = ps[i], ps[k]
		}
	}
	walk(0)
}

func TestP14_TheSameFactorTwiceIsNoSecond(t *testing.T) {
	twice := []factors.Proof{password, password}
	if got := Reached(twice, acr.High); got != acr.Low {
		t.Errorf("reached %v", got)
	}
	if got := Methods(twice); !slices.Equal(got, []string{"pwd"}) {
		t.Errorf("amr %v", got)
	}
}

func TestProofsOfTwoPeopleReachNothing(t *testing.T) {
	other := sms
	other.Account = "a2"
	if got := Reached([]factors.Proof{password, other}, acr.High); got != acr.None {
		t.Errorf("reached %v", got)
	}
	if got := Methods([]factors.Proof{password, other}); got != nil {
		t.Errorf("amr %v", got)
	}
}
