package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/jsonfile"
)

// Registration is one client as a file describes it: Client without Secrets and Version.
type Registration struct {
	Client
	Secret string // client_secret as written; "" = none
	Line   int    // in the file
}

// document is one object of the file, and with the defaults filled in what Raw holds. Names of RFC 7591 §2, ours with kapi_.
type document struct {
	ID              string          `json:"client_id"`
	Name            string          `json:"client_name"`
	NameTR          string          `json:"client_name#tr,omitempty"`
	NameEN          string          `json:"client_name#en,omitempty"`
	Secret          string          `json:"client_secret,omitempty"`
	Institution     string          `json:"institution"`
	Application     string          `json:"application_type"`
	AuthMethod      string          `json:"token_endpoint_auth_method"`
	RedirectURIs    []string        `json:"redirect_uris"`
	PostLogoutURIs  []string        `json:"post_logout_redirect_uris"`
	GrantTypes      []string        `json:"grant_types"`
	ResponseTypes   []string        `json:"response_types"`
	Scope           string          `json:"scope"`
	IDTokenAlg      string          `json:"id_token_signed_response_alg"`
	UserinfoAlg     string          `json:"userinfo_signed_response_alg,omitempty"`
	SubjectType     string          `json:"subject_type"`
	JWKS            json.RawMessage `json:"jwks"`
	RequirePKCE     *bool           `json:"kapi_require_pkce"`
	Consent         string          `json:"kapi_consent"`
	MinACR          string          `json:"kapi_min_acr"`
	AccessToken     string          `json:"kapi_access_token"`
	AccessTokenTTL  *int            `json:"kapi_access_token_ttl"`
	FormActions     []string        `json:"kapi_form_action_origins"`
	AllowedFirst    []string        `json:"kapi_allowed_first"`
	RefusedSecond   []string        `json:"kapi_refused_second"`
	MFARequiredFrom *string         `json:"kapi_mfa_required_from"`
	SSOIsolated     bool            `json:"kapi_sso_isolated"`
	Logo            string          `json:"kapi_logo,omitempty"` // in Raw: Logo.String
}

// The words a member may hold.
var (
	authMethods = []string{"client_secret_basic", "client_secret_post", "private_key_jwt", MethodTLS, "none"}
	grantTypes  = []string{"authorization_code", "refresh_token", "client_credentials"}
	scopes      = []string{"openid", "profile", "email", "phone", "address", "national_id", "offline_access"}
	// partnerScopes are for a partner's machine and speak of no signed-in person; they are given by client_credentials alone.
	partnerScopes = []string{"simblock:release"}
	ourScopes     = []string{"kapi", "urn:kapi", "simblock"} // how no scope of a client's own begins
	algorithms    = []string{"ES256", "RS256", "PS256", "EdDSA"}
)

// ParseFile reads a file of clients that names no further files; see ParseFileIn.
func ParseFile(r io.Reader) ([]Registration, error) { return ParseFileIn(r, nil) }

// ParseFileIn reads a file of clients (kapi client apply); the logos that it names are read from folder, nil = none can be.
// It fills in the defaults and returns all problems at once, each with its line, the client, the member and how to mend
// it; with one problem nothing is returned.
func ParseFileIn(r io.Reader, folder fs.FS) ([]Registration, error) {
	objects, err := jsonfile.Read(r, "client")
	if err != nil {
		return nil, err
	}
	var out []Registration
	var problems []jsonfile.Problem
	lines := map[string]int{}
	for _, o := range objects {
		c := checker{object: o, folder: folder}
		c.problems = o.Decode(&c.doc)
		for i := range c.problems {
			if c.problems[i].Path == "jwks_uri" || c.problems[i].Path == "sector_identifier_uri" {
				c.problems[i].Text = "unknown member; Kapi fetches nothing from a client, write the keys into jwks"
			}
			if c.problems[i].Path == "logo_uri" {
				c.problems[i].Text = "unknown member; Kapi fetches nothing from a client, put the picture beside this file and its path into kapi_logo"
			}
		}
		if len(c.problems) == 0 { // what has the wrong type would only be wrong twice
			if first, twice := lines[c.doc.ID]; twice && c.doc.ID != "" {
				c.bad("client_id", "the client of line %d has the same; each client stands once", first)
			}
			lines[c.doc.ID] = o.Line
			reg := c.registration()
			reg.Line = o.Line
			out = append(out, reg)
		}
		problems = append(problems, c.named()...)
	}
	if err := jsonfile.Join(problems); err != nil {
		return nil, err
	}
	return out, nil
}

// named is the problems with the client's name on them.
func (c *checker) named() []jsonfile.Problem {
	for i := range c.problems {
		if c.doc.ID != "" {
			c.problems[i].Subject = fmt.Sprintf("client %+.100q", c.doc.ID)
		}
	}
	return c.problems
}

// registration fills in the defaults, checks, and makes the client.
func (c *checker) registration() Registration {
	d := &c.doc
	c.defaults()
	c.identity()
	c.authentication()
	c.flow()
	c.redirects()
	c.tokens()
	c.policy()
	c.picture()
	if len(c.problems) > 0 {
		return Registration{}
	}
	level, _ := acr.Parse(d.MinACR)
	d.MinACR = level.Short()
	secret := d.Secret
	d.Secret = ""
	raw, err := json.Marshal(d)
	if err != nil {
		c.bad("client_id", "cannot be written: %v", err)
		return Registration{}
	}
	client := Client{
		ID: d.ID, Name: map[string]string{"": d.Name}, Institution: d.Institution, Native: d.Application == "native",
		AuthMethod: d.AuthMethod, RedirectURIs: d.RedirectURIs, PostLogoutURIs: d.PostLogoutURIs, GrantTypes: d.GrantTypes,
		Scopes: strings.Fields(d.Scope), IDTokenAlg: d.IDTokenAlg, UserinfoAlg: d.UserinfoAlg,
		Pairwise: d.SubjectType == "pairwise", Sector: c.sector, JWKS: c.keys, RequirePKCE: *d.RequirePKCE,
		Consent: d.Consent, MinACR: level, JWTAccessToken: d.AccessToken == "jwt",
		AccessTokenTTL: time.Duration(*d.AccessTokenTTL) * time.Second, FormActions: d.FormActions,
		AllowedFirst: d.AllowedFirst, RefusedSecond: d.RefusedSecond, MFARequiredFrom: c.cutOver,
		SSOIsolated: d.SSOIsolated, BrowserOrigins: c.origins, Logo: c.logo, Raw: raw,
	}
	for lang, name := range map[string]string{"tr": d.NameTR, "en": d.NameEN} {
		if name != "" {
			client.Name[lang] = name
		}
	}
	if len(client.AllowedFirst) == 0 {
		client.AllowedFirst = nil // an empty list is the default: all
	}
	return Registration{Client: client, Secret: secret}
}

// defaults fills in what was omitted.
func (c *checker) defaults() {
	d := &c.doc
	fill := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	fill(&d.Name, d.ID)
	fill(&d.Institution, d.Name)
	fill(&d.Application, "web")
	fill(&d.AuthMethod, "client_secret_basic")
	fill(&d.IDTokenAlg, "ES256")
	fill(&d.SubjectType, "pairwise")
	fill(&d.Consent, "none")
	fill(&d.MinACR, "low")
	fill(&d.AccessToken, "opaque")
	if d.GrantTypes == nil {
		d.GrantTypes = []string{"authorization_code"}
	}
	if d.ResponseTypes == nil && c.grants("authorization_code") {
		d.ResponseTypes = []string{"code"}
	}
	if d.Scope == "" && c.grants("authorization_code") {
		d.Scope = "openid"
	}
	if d.RequirePKCE == nil {
		d.RequirePKCE = new(true)
	}
	if d.AccessTokenTTL == nil {
		d.AccessTokenTTL = new(300)
	}
	for _, list := range []*[]string{&d.RedirectURIs, &d.PostLogoutURIs, &d.ResponseTypes, &d.FormActions, &d.AllowedFirst, &d.RefusedSecond} {
		if *list == nil {
			*list = []string{}
		}
	}
}
