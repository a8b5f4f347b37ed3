package provider

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/grant"
)

// Scopes, in the order of discovery.
const (
	scopeOpenID  = "openid"
	scopeOffline = "offline_access"
)

var scopesSupported = []string{scopeOpenID, "profile", "email", "phone", "address", "national_id", scopeOffline}

// about is what a client may learn of a person. A claim without a value is left out (OpenID Connect Core §5.3.2).
type about struct {
	Name            string           `json:"name,omitempty"`
	GivenName       string           `json:"given_name,omitempty"`
	FamilyName      string           `json:"family_name,omitempty"`
	Birthdate       string           `json:"birthdate,omitempty"`
	Gender          string           `json:"gender,omitempty"`
	Locale          string           `json:"locale,omitempty"`
	Email           string           `json:"email,omitempty"`
	EmailVerified   *bool            `json:"email_verified,omitempty"`
	Phone           string           `json:"phone_number,omitempty"`
	PhoneVerified   *bool            `json:"phone_number_verified,omitempty"`
	PhoneIDVerified *bool            `json:"phone_number_id_verified,omitempty"`
	Address         *account.Address `json:"address,omitempty"`
	NationalID      string           `json:"national_id,omitempty"`
	PersonType      string           `json:"person_type,omitempty"`
}

// known is what we know of a person.
type known struct {
	account.Person
	contact.Contacts
	locale string
}

func knownOf(l grant.Living) known {
	return known{Person: l.Person, Contacts: l.Contacts, locale: l.Locale}
}

// personal claims: the scope that opens each, and where it comes from. A claim asked for singly is opened by the same
// scope of the registration, so that nobody gets past the approval for national_id by naming it in claims.
var personal = []struct {
	name, scope string
	put         func(a *about, k *known)
}{
	{"name", "profile", func(a *about, k *known) { a.Name = k.Name() }},
	{"given_name", "profile", func(a *about, k *known) { a.GivenName = k.GivenName }},
	{"family_name", "profile", func(a *about, k *known) { a.FamilyName = k.FamilyName }},
	{"birthdate", "profile", func(a *about, k *known) { a.Birthdate = k.Birthdate }},
	{"gender", "profile", func(a *about, k *known) { a.Gender = k.Gender }},
	{"locale", "profile", func(a *about, k *known) { a.Locale = k.locale }},
	{"email", "email", func(a *about, k *known) { a.Email = k.Email.Address }},
	{"email_verified", "email", func(a *about, k *known) { a.EmailVerified = fact(k.Email.Address, k.Email.Verified) }},
	{"phone_number", "phone", func(a *about, k *known) { a.Phone = k.Phone.Number }},
	{"phone_number_verified", "phone", func(a *about, k *known) {
		a.PhoneVerified = fact(k.Phone.Number, k.Phone.Grade == contact.Verified || k.Phone.Grade == contact.IDVerified)
	}},
	{"phone_number_id_verified", "phone", func(a *about, k *known) {
		a.PhoneIDVerified = fact(k.Phone.Number, k.Phone.Grade == contact.IDVerified)
	}},
	{"address", "address", func(a *about, k *known) {
		if address := k.Address; address != (account.Address{}) {
			a.Address = &address
		}
	}},
	{"national_id", "national_id", func(a *about, k *known) { a.NationalID = string(k.NationalID) }},
	{"person_type", "national_id", func(a *about, k *known) { a.PersonType = string(k.Kind) }},
}

// fact is a yes or no about a thing, and nothing where there is no such thing.
func fact(thing string, is bool) *bool {
	if thing == "" {
		return nil
	}
	return &is
}

// tell collects the claims of the granted scopes and those asked for singly, as far as the client is registered for them
// today: an approval that was withdrawn meanwhile counts at once.
func tell(c clients.Client, k known, scopes, single []string) (a about) {
	for _, p := range personal {
		if contains(c.Scopes, p.scope) && (contains(scopes, p.scope) || contains(single, p.name)) {
			p.put(&a, &k)
		}
	}
	return a
}

// single are the claims asked for one by one with the claims parameter, reduced to those there are.
type single struct {
	Userinfo []string `json:"userinfo,omitempty"`
	IDToken  []string `json:"id_token,omitempty"`
}

func (c single) raw() json.RawMessage {
	if len(c.Userinfo)+len(c.IDToken) == 0 {
		return nil
	}
	b, _ := json.Marshal(c) // two lists of known names
	return b
}

func singleOf(g grant.Grant) (c single) {
	if len(g.Claims) > 0 {
		_ = json.Unmarshal(g.Claims, &c) // written by raw
	}
	return c
}

// claimsRequest is the claims parameter (OpenID Connect Core §5.5). A member may be null.
type claimsRequest struct {
	Userinfo map[string]*claimRequest `json:"userinfo"`
	IDToken  map[string]*claimRequest `json:"id_token"`
}

type claimRequest struct {
	Essential bool              `json:"essential"`
	Value     json.RawMessage   `json:"value"`
	Values    []json.RawMessage `json:"values"`
}

func parseClaims(raw string) (c claimsRequest, ok bool) {
	if p := bytes.TrimLeft([]byte(raw), " \t\r\n"); len(p) == 0 || p[0] != '{' {
		return c, false
	}
	return c, json.Unmarshal([]byte(raw), &c) == nil
}

// texts returns the strings asked for with value or values.
func (r *claimRequest) texts() (out []string) {
	if r == nil {
		return nil
	}
	for _, v := range append([]json.RawMessage{r.Value}, r.Values...) {
		var text string
		if len(v) > 0 && json.Unmarshal(v, &text) == nil && text != "" {
			out = append(out, text)
		}
	}
	return out
}

// names returns the personal claims among those asked for, in the order of the table.
func names(asked map[string]*claimRequest, c clients.Client) (out []string) {
	for _, p := range personal {
		if _, ok := asked[p.name]; ok && contains(c.Scopes, p.scope) {
			out = append(out, p.name)
		}
	}
	return out
}

// scopesOf returns the scopes that stand for claims asked for singly, so that the consent page names what goes out.
func (c single) scopesOf() (out []string) {
	for _, p := range personal {
		if (contains(c.Userinfo, p.name) || contains(c.IDToken, p.name)) && !contains(out, p.scope) {
			out = append(out, p.scope)
		}
	}
	return out
}

// level returns the weakest level a claim request for acr names, by its full name. impossible: it is essential and names only levels that
// do not exist, so that no sign-in can satisfy it (§5.5.1.1).
func (r *claimRequest) level() (l acr.Level, impossible bool) {
	asked := r.texts()
	l = acr.WeakestName(asked)
	return l, r != nil && r.Essential && l == acr.None && len(asked) > 0
}

// claimsSupported lists every claim that an ID token or userinfo may hold.
func claimsSupported() []string {
	out := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "auth_steps", "sid", "at_hash", "azp"}
	for _, p := range personal {
		out = append(out, p.name)
	}
	return slices.Clip(out)
}
