package signin

import (
	"math/bits"
	"slices"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/session"
)

// Reached is the level that the proofs reach, never above the ceiling of the account. Without a first factor, or with
// proofs of two accounts, nothing is reached. It never falls when a proof is added.
func Reached(proofs []factors.Proof, ceiling acr.Level) acr.Level {
	if !coherent(proofs) {
		return acr.None
	}
	level := acr.Low
	if kinds(proofs) > 1 {
		level = acr.Substantial
	}
	for _, p := range proofs {
		level = max(level, p.Level)
	}
	return min(level, ceiling)
}

// Methods is the amr claim (RFC 8176): what the first factor is, what the second is, then mca for more than one channel
// and mfa for two kinds out of know, have and are. No value stands twice; one kind shown twice is not mfa.
func Methods(proofs []factors.Proof) []string {
	if !coherent(proofs) {
		return nil
	}
	var amr []string
	add := func(values ...string) {
		for _, v := range values {
			if !slices.Contains(amr, v) {
				amr = append(amr, v)
			}
		}
	}
	for _, stage := range []factors.Stage{factors.First, factors.Second} {
		for _, p := range proofs {
			if p.Stage == stage {
				add(p.AMR...)
			}
		}
	}
	if away(proofs) {
		add("mca")
	}
	if kinds(proofs) > 1 {
		add("mfa")
	}
	return amr
}

// Steps is the auth_steps claim: each proof by its product name, in order of time.
func Steps(proofs []factors.Proof) []grant.Step {
	steps := make([]grant.Step, len(proofs))
	for i, p := range proofs {
		steps[i] = grant.Step{Method: p.Factor, Time: p.At.Unix()}
	}
	slices.SortStableFunc(steps, func(a, b grant.Step) int { return int(a.Time - b.Time) })
	return steps
}

// AuthTime is when the person last proved something: a step-up renews it, single sign-on keeps it.
func AuthTime(proofs []factors.Proof) time.Time { return session.LastProof(proofs) }

// coherent: there is a first factor, and all proofs are of one account.
func coherent(proofs []factors.Proof) bool {
	first := false
	for _, p := range proofs {
		if p.Account == "" || p.Account != proofs[0].Account {
			return false
		}
		first = first || p.Stage == factors.First
	}
	return first
}

func kinds(proofs []factors.Proof) int {
	var set factors.Kind
	for _, p := range proofs {
		set |= p.Kinds
	}
	return bits.OnesCount8(uint8(set))
}

// away: something came by another channel than the browser the person sits at.
func away(proofs []factors.Proof) bool {
	return slices.ContainsFunc(proofs, func(p factors.Proof) bool { return p.Channel != factors.Here })
}

func has(proofs []factors.Proof, stage factors.Stage) bool {
	return slices.ContainsFunc(proofs, func(p factors.Proof) bool { return p.Stage == stage })
}
