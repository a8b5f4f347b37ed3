package clients

import (
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/jsonfile"
)

// Bounds of what a file may say.
const (
	mostName    = 100 // characters
	mostURIs    = 50
	mostURI     = 2000 // bytes
	mostOrigins = 20
	mostFactors = 32
	mostScopes  = 30
	mostScope   = 64
	leastSecret = 32 // characters
	mostSecret  = 200
)

// checker judges one document and collects what is wrong with it.
type checker struct {
	object   jsonfile.Object
	folder   fs.FS // of the file; nil = none
	doc      document
	problems []jsonfile.Problem

	keys    jose.JSONWebKeySet
	sector  string
	origins []string
	cutOver time.Time
	logo    Logo
}

// bad notes a problem of a member, which may be followed by [i] or a part of it.
func (c *checker) bad(path, format string, args ...any) {
	member, _, _ := strings.Cut(path, "[")
	member, _, _ = strings.Cut(member, ".")
	c.problems = append(c.problems, jsonfile.Problem{Line: c.object.At(member), Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) oneOf(path, value string, allowed []string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	c.bad(path, "%+.60q is not known; use %s", value, list(allowed))
	return false
}

// list is "a, b or c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// each checks the length of a list and every value of it, and that none stands twice.
func (c *checker) each(path string, values []string, most int, check func(path, value string)) {
	if len(values) > most {
		c.bad(path, "%d values, and no more than %d are allowed", len(values), most)
		return
	}
	for i, v := range values {
		p := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(values[:i], v) {
			c.bad(p, "stands twice; remove one")
			continue
		}
		check(p, v)
	}
}

func (c *checker) grants(grant string) bool { return slices.Contains(c.doc.GrantTypes, grant) }

// identity: who the client is and what people read of it.
func (c *checker) identity() {
	d := &c.doc
	switch {
	case d.ID == "":
		c.bad("client_id", "is missing; give the client a name of its own, e.g. \"tax-portal\"")
	case len(d.ID) > mostName || strings.Trim(d.ID, idAlphabet) != "":
		c.bad("client_id", "use at most %d letters, digits and - . _ ~", mostName)
	case d.ID == "kapi":
		c.bad("client_id", "is the name of Kapi's own pages; use another")
	}
	c.name("client_name", d.Name)
	c.name("institution", d.Institution)
	if d.NameTR != "" {
		c.name("client_name#tr", d.NameTR)
	}
	if d.NameEN != "" {
		c.name("client_name#en", d.NameEN)
	}
	c.oneOf("application_type", d.Application, []string{"web", "native"})
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// name checks what people read as the name of the one they give their data to: nothing in it may hide, turn around or
// break what stands beside it, and it may not be ours.
func (c *checker) name(path, s string) {
	switch own := strings.Map(plain, s); {
	case utf8.RuneCountInString(s) > mostName:
		c.bad(path, "is longer than %d characters", mostName)
	case strings.TrimSpace(s) != s || s == "":
		c.bad(path, "is empty, or begins or ends with a space")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }): // Cc, Cf (with all bidi controls), Zl, Zp, Co
		c.bad(path, "holds a character that cannot be seen (a control or direction mark); retype it")
	case own == "kapi":
		c.bad(path, "is Kapi's own name; people would not know whose page they see")
	}
}

// plain folds a letter so that the spellings of our name fall together; what is no letter is dropped.
func plain(r rune) rune {
	switch r = unicode.ToLower(r); {
	case r == 'ı' || r == 'í' || r == 'ì' || r == 'î' || r == 'і':
		return 'i'
	case r == 'â' || r == 'á' || r == 'à' || r == 'а':
		return 'a'
	case !unicode.IsLetter(r):
		return -1
	}
	return r
}

// authentication: how the client proves itself at the token endpoint.
func (c *checker) authentication() {
	d := &c.doc
	if !c.oneOf("token_endpoint_auth_method", d.AuthMethod, authMethods) {
		return
	}
	c.keySet()
	withSecret := strings.HasPrefix(d.AuthMethod, "client_secret_")
	switch {
	case !withSecret && d.Secret != "":
		c.bad("client_secret", "has no use with token_endpoint_auth_method %s; remove it", d.AuthMethod)
	case d.Secret == "": // one is made when it is applied
	case utf8.RuneCountInString(d.Secret) < leastSecret:
		c.bad("client_secret", "is shorter than %d characters; remove it and Kapi makes one, or take one from a password generator", leastSecret)
	case len(d.Secret) > mostSecret:
		c.bad("client_secret", "is longer than %d characters", mostSecret)
	case strings.ContainsFunc(d.Secret, func(r rune) bool { return r < ' ' || r > '~' }): // VSCHAR, RFC 6749 appendix A.2
		c.bad("client_secret", "holds a character that not every client can send; use printable ASCII")
	}
	switch withKey := ByKey(d.AuthMethod); {
	case withKey && len(c.keys.Keys) == 0 && len(c.problems) == 0:
		c.bad("jwks", "%s needs at least one public key: {\"keys\":[{…}]}", d.AuthMethod)
	case !withKey && len(c.keys.Keys) > 0:
		c.bad("jwks", "is only read with token_endpoint_auth_method private_key_jwt or %s; remove the keys or change the method", MethodTLS)
	}
	if d.AuthMethod == "none" && !*d.RequirePKCE {
		c.bad("kapi_require_pkce", "a client with token_endpoint_auth_method none has nothing but PKCE; remove the member")
	}
}

// flow: grants, response types, scopes.
func (c *checker) flow() {
	d := &c.doc
	if len(d.GrantTypes) == 0 {
		c.bad("grant_types", "is empty; the client could do nothing. Use %s", list(grantTypes))
	}
	c.each("grant_types", d.GrantTypes, len(grantTypes), func(path, v string) { c.oneOf(path, v, grantTypes) })
	c.each("response_types", d.ResponseTypes, 1, func(path, v string) { c.oneOf(path, v, []string{"code"}) })
	code := c.grants("authorization_code")
	switch {
	case code && len(d.ResponseTypes) == 0:
		c.bad("response_types", "the grant authorization_code needs \"code\"; leave the member out")
	case !code && c.grants("refresh_token"):
		c.bad("grant_types", "a refresh token comes with the grant authorization_code only; add it or remove refresh_token")
	}
	if c.grants("client_credentials") && d.AuthMethod == "none" {
		c.bad("grant_types", "client_credentials needs a client that proves itself; token_endpoint_auth_method none cannot")
	}
	words := strings.Fields(d.Scope)
	c.each("scope", words, mostScopes, func(path, v string) {
		switch {
		case slices.Contains(scopes, v):
		case ownScope(v) && c.grants("client_credentials"): // given by that grant alone
		case !slices.Contains(partnerScopes, v):
			if c.oneOf("scope", v, scopes) || !c.grants("client_credentials") {
				return
			}
			c.bad("scope", "a scope of the client's own has a \":\", \".\" or \"/\" in it, such as \"notices:read\", at most %d printable characters, and begins with none of %s", mostScope, list(ourScopes))
		case !c.grants("client_credentials") || code || !ByKey(d.AuthMethod): // no secret that can be copied moves somebody's account
			c.bad("scope", "%s is for a client of the grant client_credentials alone, with token_endpoint_auth_method private_key_jwt or %s", v, MethodTLS)
		}
	})
	d.Scope = strings.Join(words, " ")
	if code && !slices.Contains(words, "openid") {
		c.bad("scope", "must hold openid, or no sign-in can be asked for")
	}
}

// ownScope: a name that the client gives to what its own services do (RFC 6749 §3.3). It has a mark in it that no scope of OpenID Connect
// has, so that a misspelt one of those is still found; and what begins as ours may mean something one day.
func ownScope(v string) bool {
	return len(v) <= mostScope && strings.ContainsAny(v, ":./") && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) &&
		!slices.ContainsFunc(ourScopes, func(ours string) bool { return strings.HasPrefix(strings.ToLower(v), ours) })
}

// tokens: algorithms, subjects, access tokens.
func (c *checker) tokens() {
	d := &c.doc
	c.oneOf("id_token_signed_response_alg", d.IDTokenAlg, algorithms)
	if d.UserinfoAlg != "" {
		c.oneOf("userinfo_signed_response_alg", d.UserinfoAlg, algorithms)
	}
	c.oneOf("subject_type", d.SubjectType, []string{"pairwise", "public"})
	c.oneOf("kapi_access_token", d.AccessToken, []string{"opaque", "jwt"})
	if *d.AccessTokenTTL < 60 || *d.AccessTokenTTL > 300 {
		c.bad("kapi_access_token_ttl", "must be 60 to 300 seconds")
	}
}

// policy: consent, levels, factors, cut-over.
func (c *checker) policy() {
	d := &c.doc
	c.oneOf("kapi_consent", d.Consent, []string{"none", "once", "always"})
	if _, ok := acr.Parse(d.MinACR); !ok {
		c.bad("kapi_min_acr", "%+.60q is not known; use low, substantial or high", d.MinACR)
	}
	factor := func(path, v string) {
		if v == "" || len(v) > 32 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			c.bad(path, "is no name of a factor, such as \"password\" or \"sms\"")
		}
	}
	c.each("kapi_allowed_first", d.AllowedFirst, mostFactors, factor)
	c.each("kapi_refused_second", d.RefusedSecond, mostFactors, factor)
	c.each("kapi_form_action_origins", d.FormActions, mostOrigins, func(path, v string) {
		if o, err := origin(v); err != nil {
			c.bad(path, "%v", err)
		} else if o != v {
			c.bad(path, "must be an origin, scheme and host and nothing else: write %q", o)
		}
	})
	if s := d.MFARequiredFrom; s != nil {
		at, err := time.Parse(time.RFC3339, *s)
		if day, dayErr := time.Parse(time.DateOnly, *s); dayErr == nil {
			at, err = day, nil
		}
		if err != nil {
			c.bad("kapi_mfa_required_from", "must be a date or a time with its zone, e.g. \"2026-07-01\" or \"2026-07-01T00:00:00+03:00\"")
		}
		c.cutOver = at.UTC()
	}
}

// origin returns the origin of an https or loopback http address, as a browser writes it (RFC 6454 §6.1).
func origin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !hostOK(u) {
		return "", fmt.Errorf("is no origin, such as \"https://pay.example\"")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return "", fmt.Errorf("must begin with https:// (http:// is for loopback only)")
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host, nil
}
