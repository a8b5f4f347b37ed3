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
	card     = proof("idcard", factors.First, factors.Have|factors.Know, factors.Here, acr.High, "sc", "hwk", "pin")
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

// table is the acr/amr table: what each first factor gives with each second one. The lines of the columns are in columns; "–" is no way
// that is offered, which TestP14_WhatIsNotOffered and the tests of the whole Kapi see to.
var table = []struct {
	first factors.Proof
	acr   acr.Level // with a second factor
	cells []string  // amr
}{
	{password, acr.Substantial, []string{"pwd", "pwd swk user mca mfa", "pwd swk mfa", "pwd sms mca mfa", "pwd oob mca mfa", "pwd backup mfa", "pwd otp mfa", "pwd swk user mfa", "pwd hwk user mfa"}},
	{bank, acr.Substantial, []string{"fed", "fed swk user mca mfa", "–", "fed sms mca mfa", "fed oob mca mfa", "fed backup mfa", "–", "fed swk user mfa", "fed hwk user mfa"}},
	{esign, acr.High, []string{"sc hwk pin mfa", "sc hwk pin swk user mca mfa", "–", "sc hwk pin sms mca mfa", "sc hwk pin oob mca mfa", "sc hwk pin backup mfa", "–", "sc hwk pin swk user mfa", "sc hwk pin user mfa"}},
	{card, acr.High, []string{"sc hwk pin mfa", "sc hwk pin swk user mca mfa", "–", "sc hwk pin sms mca mfa", "sc hwk pin oob mca mfa", "sc hwk pin backup mfa", "–", "sc hwk pin swk user mfa", "sc hwk pin user mfa"}},
	{mobile, acr.High, []string{"hwk pin mca mfa", "hwk pin swk user mca mfa", "hwk pin swk mca mfa", "hwk pin sms mca mfa", "hwk pin oob mca mfa", "hwk pin backup mca mfa", "–", "hwk pin swk user mca mfa", "hwk pin user mca mfa"}},
}

var columns = [][]factors.Proof{nil, {device}, {same}, {sms}, {bip}, {backup}, {totp}, {webauthn}, {attested}}

func TestP14_TheWholeTable(t *testing.T) {
	seen := 0
	for _, line := range table {
		if len(line.cells) != len(columns) {
			t.Fatalf("%s: %d cells", line.first.Factor, len(line.cells))
		}
		for i, amr := range line.cells {
			if amr == "–" {
				continue
			}
			seen++
			proofs := append([]factors.Proof{line.first}, columns[i]...)
			level := line.acr
			if columns[i] == nil {
				level = line.first.Level
			}
			t.Run(fmt.Sprint(names(proofs), i), func(t *testing.T) {
				if got := strings.Join(Methods(proofs), " "); got != amr {
					t.Errorf("amr %q, want %q", got, amr)
				}
				for ceiling := acr.Low; ceiling <= acr.High; ceiling++ {
					if got := Reached(proofs, ceiling); got != min(level, ceiling) {
						t.Errorf("acr %v under ceiling %v, want %v", got, ceiling, min(level, ceiling))
					}
				}
				var steps []string
				for _, s := range Steps(proofs) {
					steps = append(steps, s.Method)
				}
				if !slices.Equal(steps, names(proofs)) {
					t.Errorf("steps %v", steps)
				}
			})
		}
	}
	if seen != 38 {
		t.Errorf("%d cells of the table were looked at", seen)
	}
}

// The key app stands beside the password alone; what follows anything follows anything.
func TestP14_WhatIsNotOffered(t *testing.T) {
	app, plain := factors.Info{Name: "totp", After: []string{"password"}}, factors.Info{Name: "sms"}
	for _, line := range table {
		if got, want := follows(app, []factors.Proof{line.first}), line.cells[6] != "–"; got != want {
			t.Errorf("the key app after %s: %v", line.first.Factor, got)
		}
		if !follows(plain, []factors.Proof{line.first}) {
			t.Errorf("no SMS after %s", line.first.Factor)
		}
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
