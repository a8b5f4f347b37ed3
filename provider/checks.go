package provider

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/web"
)

// Longest values that are kept, in bytes: a stored request stays around one kilobyte whatever strangers send.
const (
	mostState     = 2048
	mostNonce     = 512
	mostClaims    = 4096
	mostLoginHint = 256
	mostLocales   = 8
)

// Errors of an authorization request that the library has no constructor for.
const (
	errUnsupportedResponseType = "unsupported_response_type"
	errRequestURINotSupported  = "request_uri_not_supported"
	errRegistrationNot         = "registration_not_supported"
	errUnmet                   = "unmet_authentication_requirements"
)

func wrong(description string) *oidc.Error {
	return oidc.ErrInvalidRequest().WithDescription("%s", description)
}

// only returns the value of a parameter that decides where the answer goes; "" also when it stands twice.
func (q *request) only(name string) string {
	if v := q.params[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}

func clientID(q *request) error {
	c, ok, err := q.Server.client(q.ctx, q.only("client_id"))
	if err != nil {
		return err
	}
	if !ok {
		return wrong("unknown client")
	}
	q.client, q.ask.Client = c, c.ID
	return nil
}

func redirectURI(q *request) error {
	uri := q.only("redirect_uri")
	if uri == "" || !redirectRegistered(q.client, uri) {
		return wrong("redirect_uri is not registered")
	}
	q.answer = answer{RedirectURI: uri, Mode: modeQuery}
	if q.only("response_mode") == modeFormPost {
		q.answer.Mode = modeFormPost
	}
	if v := q.only("state"); isState(v) {
		q.answer.State = v
	}
	return nil
}

func withinQuota(q *request) error {
	return q.quota.within("authorize "+web.Network(q.ctx)+" "+q.client.ID, q.now)
}

// responseMode: fragment would put a code where scripts of the page read it; an answer about it goes by the default mode.
func responseMode(q *request) error {
	switch q.params.Get("response_mode") {
	case "", modeQuery, modeFormPost:
		return nil
	}
	return wrong("response_mode must be query or form_post")
}

// state is echoed byte by byte, so what would not survive storage as text is refused rather than changed.
func state(q *request) error {
	if !isState(q.params.Get("state")) {
		return wrong("state is too long or no plain text")
	}
	return nil
}

func isState(v string) bool { return len(v) <= mostState && plain(v) }

func eachOnce(q *request) error { return q.twice }

func requestObjects(q *request) error {
	switch {
	case q.params.Get("request") != "":
		return oidc.ErrRequestNotSupported()
	case q.params.Get("request_uri") != "":
		return &oidc.Error{ErrorType: errRequestURINotSupported}
	case q.params.Get("registration") != "":
		return &oidc.Error{ErrorType: errRegistrationNot}
	}
	return nil
}

func responseType(q *request) error {
	switch q.params.Get("response_type") {
	case "code":
		return nil
	case "":
		return wrong("response_type is missing")
	}
	return &oidc.Error{ErrorType: errUnsupportedResponseType, Description: "response_type must be code"}
}

func mayUseCode(q *request) error {
	if !q.client.Allows(string(oidc.GrantTypeCode)) {
		return oidc.ErrUnauthorizedClient().WithDescription("the client is not registered for authorization_code")
	}
	return nil
}

// codeChallenge: S256 or, where the registration says so, nothing (RFC 7636, RFC 9700 §2.1.1). A method left out would mean
// plain.
func codeChallenge(q *request) error {
	challenge, method := q.params.Get("code_challenge"), q.params.Get("code_challenge_method")
	switch {
	case challenge == "" && method == "":
		if q.client.RequirePKCE || q.client.AuthMethod == string(oidc.AuthMethodNone) {
			return wrong("code_challenge is missing")
		}
	case method != "S256":
		return wrong("code_challenge_method must be S256")
	case !isChallenge(challenge):
		return wrong("code_challenge is not the base64url of a SHA-256")
	}
	q.record.Challenge = challenge
	return nil
}

// scope: openid must be there; what is unknown or not registered is left out, as OpenID Connect Core §3.1.2.1 has it,
// and the token response says what was granted.
func scope(q *request) error {
	asked := spaced(q.params.Get("scope"))
	if !contains(asked, scopeOpenID) || !contains(q.client.Scopes, scopeOpenID) {
		return oidc.ErrInvalidScope().WithDescription("scope must contain openid")
	}
	for _, known := range scopesSupported {
		if !contains(asked, known) || !contains(q.client.Scopes, known) {
			continue
		}
		if known == scopeOffline && !q.client.Allows(string(oidc.GrantTypeRefreshToken)) {
			continue
		}
		q.record.Scopes = append(q.record.Scopes, known)
	}
	q.ask.Scopes = slices.Clone(q.record.Scopes)
	return nil
}

func nonce(q *request) error {
	v := q.params.Get("nonce")
	if len(v) > mostNonce || !plain(v) {
		return wrong("nonce is too long or no plain text")
	}
	q.record.Nonce = v
	return nil
}

func prompt(q *request) error {
	asked := spaced(q.params.Get("prompt"))
	for _, p := range asked {
		switch p {
		case oidc.PromptNone:
			q.ask.Silent = true
		case oidc.PromptLogin:
			q.ask.Login = true
		case oidc.PromptConsent:
			q.ask.Consent = true
		case oidc.PromptSelectAccount:
			q.ask.SelectAccount = true
		default:
			return wrong("unknown prompt")
		}
	}
	if q.ask.Silent && len(asked) > 1 {
		return wrong("prompt=none excludes every other prompt")
	}
	return nil
}

func maxAge(q *request) error {
	v := q.params.Get("max_age")
	if v == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(v, 10, 32)
	if err != nil || seconds < 0 {
		return wrong("max_age must be a number of seconds")
	}
	q.ask.MaxAge = &seconds
	return nil
}

// claimsParameter: single claims, the subject that must be the one (§5.5.1), and the level, which is essential or a wish.
func claimsParameter(q *request) error {
	v := q.params.Get("claims")
	if v == "" {
		return nil
	}
	c, ok := parseClaims(v)
	if !ok || len(v) > mostClaims {
		return wrong("claims is too long or no JSON object as it should be")
	}
	q.record.Claims = single{Userinfo: names(c.Userinfo, q.client), IDToken: names(c.IDToken, q.client)}
	for _, s := range q.record.Claims.scopesOf() {
		if !contains(q.ask.Scopes, s) {
			q.ask.Scopes = append(q.ask.Scopes, s)
		}
	}
	if sub := c.IDToken["sub"].texts(); len(sub) == 1 {
		q.ask.HintSubject = sub[0]
	}
	level, impossible := c.IDToken["acr"].level()
	switch {
	case impossible:
		return &oidc.Error{ErrorType: errUnmet, Description: "none of the acr values is known"}
	case level == acr.None:
	case c.IDToken["acr"].Essential:
		q.ask.Must = level
	default:
		q.ask.Want = level
	}
	return nil
}

// acrValues: the weakest known value is the minimum wished for; what the client is registered for is a must.
func acrValues(q *request) error {
	q.ask.Want = max(q.ask.Want, acr.Weakest(spaced(q.params.Get("acr_values"))))
	q.ask.Must = max(q.ask.Must, q.client.Least(q.now))
	return nil
}

// idTokenHint says whom the client expects. It may be expired, but it must be ours and this client's.
func idTokenHint(q *request) error {
	v := q.params.Get("id_token_hint")
	if v == "" {
		return nil
	}
	h, err := q.hint(v)
	if err != nil || h.Audience != q.client.ID {
		return wrong("id_token_hint is not an ID token of this client")
	}
	if q.ask.HintSubject != "" && q.ask.HintSubject != h.Subject {
		return oidc.ErrLoginRequired().WithDescription("id_token_hint and claims name two people")
	}
	q.ask.HintSubject = h.Subject
	return nil
}

// hints that may help and cannot harm: too long ones are dropped. display is tolerated.
func hints(q *request) error {
	if v := q.params.Get("login_hint"); len(v) <= mostLoginHint && plain(v) {
		q.ask.LoginHint = v
	}
	q.ask.UILocales = locales(q.params.Get("ui_locales"))
	return nil
}

// locales keeps what looks like language tags, most wished for first.
func locales(v string) (out []string) {
	for _, tag := range spaced(v) {
		if len(out) < mostLocales && len(tag) <= 35 && strings.Trim(tag, tagLetters) == "" {
			out = append(out, tag)
		}
	}
	return out
}

const tagLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// plain text survives JSON and headers as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// isChallenge: the base64url of 32 bytes in its one spelling.
func isChallenge(s string) bool {
	raw, err := base64url.DecodeString(s)
	return err == nil && len(raw) == 32 && len(s) == 43
}
