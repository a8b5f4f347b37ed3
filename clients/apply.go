package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

// Grace is how long an old secret works beside the new one.
const Grace = 24 * time.Hour

// Keyed makes and checks the keyed hashes that are stored of secrets; *secret.Ring is one.
type Keyed interface {
	MAC(p secret.Purpose, parts ...string) []byte
	CheckMAC(p secret.Purpose, mac []byte, parts ...string) bool
}

// CheckSecret says whether given is a secret of the client at now. It looks at all of them, so that the answer takes
// equally long.
func (c Client) CheckSecret(k Keyed, given string, now time.Time) bool {
	ok := false
	for _, s := range c.Secrets {
		ok = s.alive(now) && k.CheckMAC(secret.Tokens, s.MAC, "client_secret", c.ID, given) || ok
	}
	return ok
}

func (s Secret) alive(now time.Time) bool { return s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt) }

// Registrar changes registrations. Each change commits with its audit event.
type Registrar struct {
	Store interface {
		Store
		Atomically(ctx context.Context, fn func(context.Context) error) error
	}
	Audit audit.Recorder
	Keys  Keyed
	// First and Second are the names of the factors there are, to find misspelt ones; nil = not checked.
	First, Second []string
	Actor         string // of the audit events, "cli"
}

// Report says what Apply did, in the order of the file.
type Report struct{ Changes []Change }

// Change is what happened to one client.
type Change struct {
	ID       string
	Created  bool
	Members  []Member // what differs; empty for an unchanged client
	Secret   string   // one that was made here, to be shown once; "" = none
	Warnings []string
}

// Member is one changed member of the file with its values as JSON, "" where it was or is absent. A secret has none.
type Member struct{ Name, Old, New string }

// Apply registers what is new and changes what differs, all or nothing. It never deletes, and the second time it
// changes nothing. A confidential client without client_secret keeps the one it has or gets one.
func (r Registrar) Apply(ctx context.Context, regs []Registration, now time.Time) (Report, error) {
	if err := r.factors(regs); err != nil {
		return Report{}, err
	}
	var report Report
	err := r.Store.Atomically(ctx, func(ctx context.Context) error {
		report = Report{} // the transaction may be tried again
		for _, reg := range regs {
			change, err := r.apply(ctx, reg, now)
			if err != nil {
				return err
			}
			report.Changes = append(report.Changes, change)
		}
		return nil
	})
	if err != nil {
		return Report{}, err
	}
	return report, nil
}

// factors finds names that no factor has: a misspelt one in kapi_allowed_first would shut everybody out.
func (r Registrar) factors(regs []Registration) error {
	var errs []error
	for _, reg := range regs {
		for member, names := range map[string][2][]string{
			"kapi_allowed_first":  {reg.AllowedFirst, r.First},
			"kapi_refused_second": {reg.RefusedSecond, r.Second},
		} {
			for _, n := range names[0] {
				if names[1] != nil && !slices.Contains(names[1], n) {
					errs = append(errs, fmt.Errorf("line %d, client %q, %s: there is no factor %q; use %s", reg.Line, reg.ID, member, n, list(names[1])))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (r Registrar) apply(ctx context.Context, reg Registration, now time.Time) (Change, error) {
	if reg.ID == "" {
		return Change{}, errors.New("clients: a registration without client_id")
	}
	old, err := r.Store.Client(ctx, reg.ID)
	change := Change{ID: reg.ID, Created: errors.Is(err, fault.ErrNotFound)}
	if err != nil && !change.Created {
		return change, fmt.Errorf("read client %q: %w", reg.ID, err)
	}
	if err := moved(old, reg.Client); err != nil {
		return change, fmt.Errorf("line %d, %w", reg.Line, err)
	}
	if change.Members, err = differ(old.Raw, reg.Raw); err != nil {
		return change, fmt.Errorf("client %q: %w", reg.ID, err)
	}
	next := reg.Client
	next.Version = old.Version
	if err := pictured(old, next, &change); err != nil {
		return change, fmt.Errorf("line %d, %w", reg.Line, err)
	}
	newSecret, err := r.secrets(&next, old, reg.Secret, &change, now)
	if err != nil {
		return change, fmt.Errorf("line %d, %w", reg.Line, err)
	}
	if len(change.Members) == 0 {
		return change, nil
	}
	if !change.Created && old.Pairwise != next.Pairwise {
		change.Warnings = append(change.Warnings, "subject_type changed: the client sees every person under a new sub")
	}
	if err := r.Store.SaveClient(ctx, next); err != nil {
		return change, fmt.Errorf("save client %q: %w", reg.ID, err)
	}
	what := "changed"
	if change.Created {
		what = "created"
	}
	var names []string
	for _, m := range change.Members {
		names = append(names, m.Name)
	}
	if err := r.record(ctx, audit.ClientApplied, reg.ID, now, map[string]string{"change": what, "members": strings.Join(names, " ")}); err != nil {
		return change, err
	}
	if newSecret && !change.Created {
		return change, r.record(ctx, audit.ClientSecret, reg.ID, now, map[string]string{"by": "apply"})
	}
	return change, nil
}

func (r Registrar) record(ctx context.Context, name audit.Name, client string, now time.Time, details map[string]string) error {
	err := r.Audit.Record(ctx, audit.Event{At: now, Name: name, Outcome: "ok", Actor: r.Actor, Client: client, Details: details})
	if err != nil {
		return fmt.Errorf("record %s: %w", name, err)
	}
	return nil
}

// moved refuses a change of the pairwise sector: the client would meet every person as a stranger (T2).
func moved(old, next Client) error {
	if old.Sector == "" || next.Sector == "" || old.Sector == next.Sector || !old.Pairwise || !next.Pairwise {
		return nil
	}
	return fmt.Errorf("client %q, redirect_uris: moving from %s to %s would give every person a new pairwise sub; register the new address under a client_id of its own", next.ID, old.Sector, next.Sector)
}

// pictured refuses to keep a logo that is not there. One that a program of before logos lost, with the file unchanged, is
// put back.
func pictured(old, next Client, change *Change) error {
	switch {
	case next.Logo.same(old.Logo):
		return nil
	case next.Logo.PNG == nil && next.Logo.Hash != "":
		return fmt.Errorf("client %q, kapi_logo: the client has another logo, or none; name the file of the picture", next.ID)
	case !slices.ContainsFunc(change.Members, func(m Member) bool { return m.Name == "kapi_logo" }):
		change.Members = append(change.Members, Member{Name: "kapi_logo"})
	}
	return nil
}

// secrets decides which secrets next has and says whether one is new.
func (r Registrar) secrets(next *Client, old Client, given string, change *Change, now time.Time) (bool, error) {
	if !strings.HasPrefix(next.AuthMethod, "client_secret_") {
		for _, s := range old.Secrets {
			if s.Withdrawn {
				next.Secrets = append(next.Secrets, s)
			}
		}
		if len(next.Secrets) < len(old.Secrets) {
			change.Members = append(change.Members, Member{Name: "client_secret"})
			change.Warnings = append(change.Warnings, "the client secret is gone, since the method needs none")
		}
		return false, nil
	}
	next.Secrets = old.Secrets
	current := slices.IndexFunc(old.Secrets, func(s Secret) bool { return s.ExpiresAt.IsZero() })
	withdrawn := given != "" && slices.ContainsFunc(old.Secrets, func(s Secret) bool { return s.Withdrawn && r.same(next.ID, s, given) })
	switch {
	case withdrawn && current < 0:
		return false, fmt.Errorf("client %q, client_secret: this one was ended at once and is not taken again; leave the member out and Kapi makes one", next.ID)
	case withdrawn: // the file was not changed since kapi client rotate-secret --now
		change.Warnings = append(change.Warnings, "the client_secret of the file was ended at once and stays so, the one that was made then works; take the member out of the file")
		return false, nil
	case given == "" && current >= 0:
		return false, nil
	case given == "":
		given = secret.Token()
		change.Secret = given
	case current >= 0 && r.same(next.ID, old.Secrets[current], given):
		return false, nil
	}
	next.Secrets = r.replace(*next, given, now, false)
	change.Members = append(change.Members, Member{Name: "client_secret"})
	if slices.ContainsFunc(next.Secrets[1:], func(s Secret) bool { return s.alive(now) }) {
		change.Warnings = append(change.Warnings, "the secret before this one works until "+now.Add(Grace).UTC().Format(time.RFC3339))
	}
	return true, nil
}

// same says whether s is the MAC of given.
func (r Registrar) same(id string, s Secret, given string) bool {
	return r.Keys.CheckMAC(secret.Tokens, s.MAC, "client_secret", id, given)
}

// Bounds of how many work side by side and of how many withdrawn ones are known, the newest first.
const (
	mostSecrets   = 3
	mostWithdrawn = 20
)

// replace returns the client's secrets with given in front; those before it end after Grace, or now at once. Withdrawn ones stand last.
func (r Registrar) replace(c Client, given string, now time.Time, atOnce bool) []Secret {
	out := []Secret{{MAC: r.Keys.MAC(secret.Tokens, "client_secret", c.ID, given)}}
	var withdrawn []Secret
	for _, s := range c.Secrets {
		switch {
		case s.Withdrawn:
			withdrawn = append(withdrawn, s)
		case r.same(c.ID, s, given) || !s.alive(now):
		case atOnce:
			s.ExpiresAt, s.Withdrawn = now, true
			withdrawn = append(withdrawn, s)
		case len(out) < mostSecrets:
			if s.ExpiresAt.IsZero() {
				s.ExpiresAt = now.Add(Grace)
			}
			out = append(out, s)
		}
	}
	return append(out, withdrawn[:min(len(withdrawn), mostWithdrawn)]...)
}

// RotateSecret gives a client a new secret and returns it, for the only time. The old one works until the returned time,
// which is zero when it ended at once.
func (r Registrar) RotateSecret(ctx context.Context, id string, now time.Time, atOnce bool) (made string, until time.Time, err error) {
	if id == "" {
		return "", until, fault.ErrNotFound
	}
	made = secret.Token()
	err = r.Store.Atomically(ctx, func(ctx context.Context) error {
		c, err := r.Store.Client(ctx, id)
		if err != nil {
			return fmt.Errorf("read client %q: %w", id, err)
		}
		if !strings.HasPrefix(c.AuthMethod, "client_secret_") {
			return fmt.Errorf("client %q proves itself by %s and has no secret", id, c.AuthMethod)
		}
		c.Secrets = r.replace(c, made, now, atOnce)
		if err := r.Store.SaveClient(ctx, c); err != nil {
			return fmt.Errorf("save client %q: %w", id, err)
		}
		return r.record(ctx, audit.ClientSecret, id, now, map[string]string{"by": "rotate-secret", "at_once": fmt.Sprint(atOnce)})
	})
	if err != nil {
		return "", until, err
	}
	if !atOnce {
		until = now.Add(Grace)
	}
	return made, until, nil
}

// differ compares two registrations member by member, in the order of the contract.
func differ(old, next json.RawMessage) ([]Member, error) {
	var a, b map[string]json.RawMessage
	if len(old) > 0 {
		if err := json.Unmarshal(old, &a); err != nil {
			return nil, fmt.Errorf("stored registration: %w", err)
		}
	}
	if err := json.Unmarshal(next, &b); err != nil {
		return nil, fmt.Errorf("registration: %w", err)
	}
	var out []Member
	for _, name := range memberNames {
		was, is := compact(a[name]), compact(b[name])
		if was != is {
			out = append(out, Member{name, was, is})
		}
	}
	return out, nil
}

// compact is the value in one form: databases that keep JSON as JSON change its spaces.
func compact(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 {
		return ""
	}
	var b bytes.Buffer
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return string(raw)
	}
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return string(raw)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// WriteTo prints the report; secrets that were made stand in it, this once.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, c := range r.Changes {
		switch {
		case c.Created:
			fmt.Fprintf(&b, "%s: created\n", c.ID)
		case len(c.Members) == 0:
			fmt.Fprintf(&b, "%s: unchanged\n", c.ID)
		default:
			fmt.Fprintf(&b, "%s: changed\n", c.ID)
			for _, m := range c.Members {
				switch {
				case m.Old == "" && m.New == "":
					fmt.Fprintf(&b, "  %s\n", m.Name)
				case m.Old == "":
					fmt.Fprintf(&b, "  %s: %s\n", m.Name, m.New)
				case m.New == "":
					fmt.Fprintf(&b, "  %s: no longer %s\n", m.Name, m.Old)
				default:
					fmt.Fprintf(&b, "  %s: %s → %s\n", m.Name, m.Old, m.New)
				}
			}
		}
		if c.Secret != "" {
			fmt.Fprintf(&b, "  client_secret: %s   (shown only now)\n", c.Secret)
		}
		for _, warning := range c.Warnings {
			fmt.Fprintf(&b, "  note: %s\n", warning)
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
