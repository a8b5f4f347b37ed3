package clients

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/acr"
)

// contract is the example that the outside contract prints.
const contract = `[{"client_id":"rp-basic","client_name":"Example","client_name#tr":"Örnek","client_secret":"at least 32 characters, this has 40 or so",
  "institution":"Example Institution","application_type":"web","token_endpoint_auth_method":"client_secret_basic",
  "redirect_uris":["http://127.0.0.1:9000/cb"],"post_logout_redirect_uris":["http://127.0.0.1:9000/bye"],
  "grant_types":["authorization_code","refresh_token"],"response_types":["code"],"scope":"openid profile email phone",
  "id_token_signed_response_alg":"ES256","subject_type":"pairwise","jwks":{"keys":[]},
  "kapi_require_pkce":true,"kapi_consent":"none","kapi_min_acr":"low","kapi_access_token":"opaque","kapi_access_token_ttl":300,
  "kapi_form_action_origins":[],"kapi_allowed_first":[],"kapi_refused_second":[],"kapi_mfa_required_from":null,"kapi_sso_isolated":false}]`

func parse(t testing.TB, file string) []Registration {
	t.Helper()
	regs, err := ParseFile(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return regs
}

func TestParseFile_Contract(t *testing.T) {
	reg := parse(t, contract)[0]
	if reg.Secret != "at least 32 characters, this has 40 or so" || reg.Line != 1 {
		t.Errorf("secret %q, line %d", reg.Secret, reg.Line)
	}
	if strings.Contains(string(reg.Raw), "at least") {
		t.Error("the secret is in Raw")
	}
	got := reg.Client
	got.Raw = nil
	want := Client{
		ID: "rp-basic", Name: map[string]string{"": "Example", "tr": "Örnek"}, Institution: "Example Institution",
		AuthMethod: "client_secret_basic", RedirectURIs: []string{"http://127.0.0.1:9000/cb"}, PostLogoutURIs: []string{"http://127.0.0.1:9000/bye"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"openid", "profile", "email", "phone"},
		IDTokenAlg: "ES256", Pairwise: true, Sector: "127.0.0.1", RequirePKCE: true, Consent: "none", MinACR: acr.Low,
		AccessTokenTTL: 5 * time.Minute, FormActions: []string{}, RefusedSecond: []string{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseFile_Defaults(t *testing.T) {
	least := parse(t, `[{"client_id":"a","redirect_uris":["https://a.example/cb"]}]`)[0]
	full := parse(t, `[{"client_id":"a","client_name":"a","institution":"a","application_type":"web","token_endpoint_auth_method":"client_secret_basic",
		"redirect_uris":["https://a.example/cb"],"post_logout_redirect_uris":[],"grant_types":["authorization_code"],"response_types":["code"],"scope":"openid",
		"id_token_signed_response_alg":"ES256","subject_type":"pairwise","jwks":{"keys":[]},"kapi_require_pkce":true,"kapi_consent":"none",
		"kapi_min_acr":"urn:kapi:loa:low","kapi_access_token":"opaque","kapi_access_token_ttl":300,"kapi_form_action_origins":[],"kapi_allowed_first":[],
		"kapi_refused_second":[],"kapi_mfa_required_from":null,"kapi_sso_isolated":false}]`)[0]
	if !reflect.DeepEqual(least, full) {
		t.Errorf("omitted %+v\nwritten %+v", least, full)
	}
	if least.AllowedFirst != nil {
		t.Error("an empty kapi_allowed_first must mean all")
	}
}

func TestParseFile_Accepts(t *testing.T) {
	for _, tc := range []struct {
		name, members string
		check         func(c Registration) bool
	}{
		{"machine", `"grant_types":["client_credentials"]`, func(c Registration) bool {
			return c.Allows("client_credentials") && len(c.Scopes) == 0 && c.Sector == ""
		}},
		{"public browser client", `"token_endpoint_auth_method":"none","redirect_uris":["https://A.example:443/cb","https://A.example:8443/cb"]`, func(c Registration) bool {
			return slices.Equal(c.BrowserOrigins, []string{"https://a.example", "https://a.example:8443"}) && c.Sector == "a.example"
		}},
		{"native", `"application_type":"native","token_endpoint_auth_method":"none","redirect_uris":["http://127.0.0.1/cb","http://[::1]/cb","org.example.app:/cb"]`, func(c Registration) bool {
			return c.Native && c.Sector == "client:c"
		}},
		{"public subjects on two hosts", `"subject_type":"public","redirect_uris":["https://a.example/cb","https://b.example/cb?x=1"]`, func(c Registration) bool { return !c.Pairwise }},
		{"two ports of one host", `"redirect_uris":["http://localhost:1/cb","http://localhost:2/cb"]`, func(c Registration) bool { return c.Sector == "localhost" }},
		{"policy", `"redirect_uris":["https://a.example/cb"],"kapi_min_acr":"high","kapi_mfa_required_from":"2026-07-01T00:00:00+03:00","kapi_allowed_first":["password"],"kapi_refused_second":["sms"],"kapi_form_action_origins":["https://pay.example","http://127.0.0.1:9"],"kapi_consent":"always","kapi_access_token":"jwt","kapi_access_token_ttl":60,"kapi_require_pkce":false,"userinfo_signed_response_alg":"PS256","kapi_sso_isolated":true`, func(c Registration) bool {
			return c.MinACR == acr.High && c.MFARequiredFrom.Equal(time.Date(2026, 6, 30, 21, 0, 0, 0, time.UTC)) && !c.TakesFirst("card") && !c.TakesSecond("sms") &&
				len(c.FormActions) == 2 && c.JWTAccessToken && c.AccessTokenTTL == time.Minute && !c.RequirePKCE && c.UserinfoAlg == "PS256" && c.SSOIsolated
		}},
		{"offline", `"redirect_uris":["https://a.example/cb"],"grant_types":["authorization_code","refresh_token"],"scope":"openid  offline_access"`, func(c Registration) bool {
			return slices.Equal(c.Scopes, []string{"openid", "offline_access"})
		}},
		{"scopes of a machine's own", `"grant_types":["client_credentials"],"scope":"notices:read urn:ssi:notices https://ssi.example/write"`, func(c Registration) bool {
			return slices.Equal(c.Scopes, []string{"notices:read", "urn:ssi:notices", "https://ssi.example/write"})
		}},
		{"offline without the grant", `"redirect_uris":["https://a.example/cb"],"scope":"openid offline_access"`, func(c Registration) bool {
			return slices.Equal(c.Scopes, []string{"openid", "offline_access"}) && !slices.Contains(c.GrantTypes, "refresh_token") // nothing is granted for it
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := parse(t, `[{"client_id":"c",`+tc.members+`}]`)[0]
			if !tc.check(c) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestParseFile_Refuses(t *testing.T) {
	const web = `"redirect_uris":["https://a.example/cb"]`
	const machine = `"grant_types":["client_credentials"]`
	redirect := func(uri string) string { b, _ := json.Marshal(uri); return `"redirect_uris":[` + string(b) + `]` }
	native := func(uri string) string { return `"application_type":"native",` + redirect(uri) }
	many := func(n int, s string) string {
		var l []string
		for i := range n {
			l = append(l, fmt.Sprintf(s, i))
		}
		b, _ := json.Marshal(l)
		return string(b)
	}
	for _, tc := range []struct{ name, members, want string }{
		{"unknown member", web + `,"logo_uri":"https://a.example/l.png"`, "logo_uri: unknown member"},
		{"misspelt member", `"redirect_uri":["https://a.example/cb"]`, `did you mean "redirect_uris"?`},
		{"fetched keys", web + `,"jwks_uri":"https://a.example/jwks"`, "jwks_uri: unknown member; Kapi fetches nothing"},
		{"fetched sector", web + `,"sector_identifier_uri":"https://a.example/s"`, "sector_identifier_uri: unknown member; Kapi fetches nothing"},
		{"type", web + `,"kapi_access_token_ttl":"300"`, "kapi_access_token_ttl: must be a whole number"},

		{"name too long", web + `,"client_name":"` + strings.Repeat("ğ", 101) + `"`, "client_name: is longer than 100"},
		{"name with a direction mark", web + `,"client_name":"bank\u202egnp"`, "client_name: holds a character that cannot be seen"},
		{"name with a control", web + `,"client_name#tr":"a\nb"`, "client_name#tr: holds a character"},
		{"name with a zero-width space", web + `,"institution":"a\u200bb"`, "institution: holds a character"},
		{"name of spaces", web + `,"client_name":" "`, "client_name: is empty"},
		{"our name", web + `,"client_name":"KAPI."`, "client_name: is Kapi's own name"},
		{"our name in Turkish", web + `,"client_name#tr":"Kapı"`, "client_name#tr: is Kapi's own name"},
		{"another language", web + `,"client_name#de":"x"`, "client_name#de: unknown member"},
		{"application", web + `,"application_type":"spa"`, `application_type: "spa" is not known; use web or native`},

		{"short secret", web + `,"client_secret":"` + strings.Repeat("s", 31) + `"`, "client_secret: is shorter than 32"},
		{"long secret", web + `,"client_secret":"` + strings.Repeat("s", 201) + `"`, "client_secret: is longer"},
		{"secret not ASCII", web + `,"client_secret":"` + strings.Repeat("ş", 32) + `"`, "client_secret: holds a character"},
		{"secret of a public client", web + `,"token_endpoint_auth_method":"none","client_secret":"` + strings.Repeat("s", 32) + `"`, "client_secret: has no use"},
		{"method", web + `,"token_endpoint_auth_method":"client_secret_jwt"`, "token_endpoint_auth_method: "},
		{"no keys", web + `,"token_endpoint_auth_method":"private_key_jwt"`, "jwks: private_key_jwt needs"},
		{"public without PKCE", web + `,"token_endpoint_auth_method":"none","kapi_require_pkce":false`, "kapi_require_pkce: "},

		{"no grants", `"grant_types":[]`, "grant_types: is empty"},
		{"implicit", web + `,"grant_types":["implicit"]`, `grant_types[0]: "implicit" is not known`},
		{"refresh alone", `"grant_types":["refresh_token"]`, "grant_types: a refresh token comes with"},
		{"public machine", `"token_endpoint_auth_method":"none","grant_types":["client_credentials"]`, "grant_types: client_credentials needs"},
		{"grant twice", web + `,"grant_types":["authorization_code","authorization_code"]`, "grant_types[1]: stands twice"},
		{"response type", web + `,"response_types":["id_token"]`, `response_types[0]: "id_token" is not known; use code`},
		{"no response type", web + `,"response_types":[]`, "response_types: the grant"},
		{"scope", web + `,"scope":"openid profil"`, `scope: "profil" is not known`},
		{"own scope without the grant", web + `,"scope":"openid notices:read"`, `scope: "notices:read" is not known`},
		{"own scope without a mark", machine + `,"scope":"notices"`, `a scope of the client's own has a ":"`},
		{"own scope with a quote", machine + `,"scope":"notices:\"read"`, `a scope of the client's own has a ":"`},
		{"own scope that is too long", machine + `,"scope":"` + strings.Repeat("n:", 33) + `"`, `a scope of the client's own has a ":"`},
		{"own scope as one of ours", machine + `,"scope":"simblock:read"`, `a scope of the client's own has a ":"`},
		{"own scope under our name", machine + `,"scope":"KAPI:read"`, `a scope of the client's own has a ":"`},
		{"scope without openid", web + `,"scope":"profile"`, "scope: must hold openid"},

		{"no redirect", `"client_name":"x"`, "redirect_uris: is empty"},
		{"redirect of a machine", `"grant_types":["client_credentials"],` + web, "redirect_uris: has no use"},
		{"redirect twice", `"redirect_uris":["https://a.example/cb","https://a.example/cb"]`, "redirect_uris[1]: stands twice"},
		{"redirects", `"redirect_uris":` + many(51, "https://a.example/%d"), "redirect_uris: 51 values"},
		{"two hosts, pairwise", `"redirect_uris":["https://a.example/cb","https://b.example/cb"]`, "redirect_uris: a.example or b.example: a pairwise sub belongs to one host"},
		{"relative", redirect("/cb"), "redirect_uris[0]: \"/cb\" is no absolute address"},
		{"no scheme", redirect("a.example/cb"), "is no absolute address"},
		{"fragment", redirect("https://a.example/cb#x"), "holds a fragment"},
		{"empty fragment", redirect("https://a.example/cb#"), "holds a fragment"},
		{"user", redirect("https://a@b.example/cb"), "holds a user name"},
		{"empty user", redirect("https://@b.example/cb"), "holds a user name"},
		{"http", redirect("http://a.example/cb"), "http is for loopback only"},
		{"http to a mapped loopback", redirect("http://[::ffff:127.0.0.1]/cb"), "http is for loopback only"},
		{"http to a name like loopback", redirect("http://localhost.example/cb"), "http is for loopback only"},
		{"javascript", redirect("javascript:alert(1)"), `"javascript" is no scheme`},
		{"data", redirect("data:text/html,x"), `"data" is no scheme`},
		{"file", redirect("file:///etc/passwd"), `"file" is no scheme`},
		{"blob", redirect("blob:https://a.example/x"), `"blob" is no scheme`},
		{"javascript native", native("javascript:alert(1)"), `"javascript" is no scheme`},
		{"short scheme native", native("myapp:/cb"), "with a dot in it"},
		{"private scheme of a web client", redirect("org.example.app:/cb"), "is for application_type native"},
		{"private scheme with a host", native("org.example.app://cb"), `write it with one slash: "org.example.app:/cb"`},
		{"private scheme, opaque", native("org.example.app:cb"), "write it with one slash"},
		{"https native", native("https://a.example/cb"), "a native client is answered at"},
		{"no host", redirect("https:///cb"), "has no proper host"},
		{"opaque https", redirect("https:a.example"), "has no proper host"},
		{"host that writes a policy", redirect("https://a.example;script-src"), "has no proper host"},
		{"host with a star", redirect("https://*.example/cb"), "has no proper host"},
		{"host not ASCII", redirect("https://şehir.example/cb"), "write a host as xn--"},
		{"backslash", redirect(`https://a.example\@b.example/`), "does not belong in an address"},
		{"space", redirect("https://a.example/c b"), "does not belong in an address"},
		{"newline", redirect("https://a.example/\n"), "does not belong in an address"},
		{"dot segment", redirect("https://a.example/x/../cb"), "holds /./ or /../"},
		{"encoded dot segment", redirect("https://a.example/x/%2E%2e/cb"), "holds /./ or /../"},
		{"bad escape", redirect("https://a.example/%zz"), "is no absolute address"},
		{"long", redirect("https://a.example/" + strings.Repeat("x", 2000)), "is longer than 2000"},
		{"post logout", web + `,"post_logout_redirect_uris":["javascript:x"]`, "post_logout_redirect_uris[0]: "},

		{"algorithm none", web + `,"id_token_signed_response_alg":"none"`, "id_token_signed_response_alg: "},
		{"symmetric algorithm", web + `,"userinfo_signed_response_alg":"HS256"`, "userinfo_signed_response_alg: "},
		{"subject type", web + `,"subject_type":"opaque"`, "subject_type: "},
		{"access token", web + `,"kapi_access_token":"JWT"`, "kapi_access_token: "},
		{"short life", web + `,"kapi_access_token_ttl":59`, "kapi_access_token_ttl: must be 60 to 300"},
		{"long life", web + `,"kapi_access_token_ttl":301`, "kapi_access_token_ttl: must be 60 to 300"},
		{"consent", web + `,"kapi_consent":"never"`, "kapi_consent: "},
		{"acr", web + `,"kapi_min_acr":"medium"`, "kapi_min_acr: "},
		{"factor", web + `,"kapi_allowed_first":["Pass word"]`, "kapi_allowed_first[0]: "},
		{"cut-over", web + `,"kapi_mfa_required_from":"soon"`, "kapi_mfa_required_from: must be a date or a time"},
		{"cut-over without zone", web + `,"kapi_mfa_required_from":"2026-07-01T00:00:00"`, "kapi_mfa_required_from: must be a date or a time"},
		{"origin with a path", web + `,"kapi_form_action_origins":["https://pay.example/x"]`, `kapi_form_action_origins[0]: must be an origin, scheme and host and nothing else: write "https://pay.example"`},
		{"origin with a star", web + `,"kapi_form_action_origins":["https://*.example"]`, "is no origin"},
		{"origin with a policy", web + `,"kapi_form_action_origins":["https://a.example; script-src *"]`, "is no origin"},
		{"origin by http", web + `,"kapi_form_action_origins":["http://a.example"]`, "must begin with https://"},
		{"origin null", web + `,"kapi_form_action_origins":["null"]`, "is no origin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			regs, err := ParseFile(strings.NewReader("[{\"client_id\":\"c\",\n" + tc.members + "}]"))
			if err == nil {
				t.Fatalf("taken: %+v", regs)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if !strings.HasPrefix(first, `line `) || !strings.Contains(first, `, client "c", `) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %q with line and client", err, tc.want)
			}
		})
	}
	for _, tc := range []struct{ name, file, want string }{
		{"no list", `{"client_id":"a"}`, "the file must be a list"},
		{"no id", `[{` + web + `}]`, "client_id: is missing"},
		{"odd id", `[{"client_id":"a b",` + web + `}]`, "client_id: use at most"},
		{"our id", `[{"client_id":"kapi",` + web + `}]`, "client_id: is the name of Kapi's own pages"},
		{"id twice", "[{\"client_id\":\"a\"," + web + "},\n{\"client_id\":\"a\"," + web + "}]", `line 2, client "a", client_id: the client of line 1 has the same`},
		{"all at once", "[{\"client_id\":\"a\"},\n{\"client_id\":\"b\"}]", "line 1, client \"a\", redirect_uris: is empty; the grant authorization_code needs at least one address to answer to\nline 2, client \"b\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParseFile(strings.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

func TestParseFile_Keys(t *testing.T) {
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(c, rand.Reader); return k }
	edPub, edKey, _ := ed25519.GenerateKey(rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	odd := func(bits uint) *rsa.PublicKey { // of a size, no real modulus
		return &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1)), E: 65537}
	}
	jwk := func(k jose.JSONWebKey) string {
		b, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	key := func(k any) string { return jwk(jose.JSONWebKey{Key: k, KeyID: "k1"}) }
	good := key(&ec(elliptic.P256()).PublicKey)
	for _, tc := range []struct{ name, keys, want string }{
		{"P-256", good, ""},
		{"P-384", key(&ec(elliptic.P384()).PublicKey), ""},
		{"P-521", key(&ec(elliptic.P521()).PublicKey), ""},
		{"RSA 2048", key(&rsa2048.PublicKey), ""},
		{"Ed25519", key(edPub), ""},
		{"with alg and use", jwk(jose.JSONWebKey{Key: &rsa2048.PublicKey, Algorithm: "PS256", Use: "sig"}), ""},
		{"without kid", jwk(jose.JSONWebKey{Key: edPub}), ""},
		{"private EC", key(ec(elliptic.P256())), "private or symmetric key material (d)"},
		{"private Ed25519", key(edKey), "private or symmetric key material (d)"},
		{"private RSA", key(rsa2048), "private or symmetric key material"},
		{"symmetric", key([]byte("0123456789abcdef0123456789abcdef")), "private or symmetric key material (k)"},
		{"RSA 2047", key(odd(2047)), "an RSA key of 2047 bits"},
		{"RSA even", key(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}), "modulus is even"},
		{"RSA 16384", key(odd(16384)), "no usable public key"},
		{"RSA exponent 1", key(&rsa.PublicKey{N: rsa2048.N, E: 1}), "no usable public key"},
		{"RSA exponent even", key(&rsa.PublicKey{N: rsa2048.N, E: 65536}), "exponent"},
		{"encryption", jwk(jose.JSONWebKey{Key: edPub, Use: "enc"}), `its use is "enc"`},
		{"other algorithm", jwk(jose.JSONWebKey{Key: edPub, Algorithm: "ES256"}), "such a key signs with EdDSA"},
		{"symmetric algorithm", jwk(jose.JSONWebKey{Key: &rsa2048.PublicKey, Algorithm: "HS256"}), "such a key signs with RS256 or PS256"},
		{"point off the curve", `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`, "no usable public key"},
		{"other curve", `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, "no usable public key"},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`, "no usable public key"},
		{"address of keys", `{"kty":"OKP","crv":"Ed25519","x":"AA","x5u":"https://a.example"}`, `"x5u" is unknown or not read`},
		{"no key", `{}`, "no usable public key"},
		{"two without kid", jwk(jose.JSONWebKey{Key: edPub}) + "," + good, "jwks.keys[0]: needs a kid"},
		{"kid twice", good + "," + good, "jwks.keys[1]: its kid stands twice"},
		{"too many", strings.TrimSuffix(strings.Repeat("{},", 10000), ","), "10000 keys"},
		{"no object", `1`, "must be a list of keys"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			regs, err := ParseFile(strings.NewReader(`[{"client_id":"c","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + tc.keys + `]}}]`))
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want == "" && (len(regs[0].JWKS.Keys) != 1 || !regs[0].JWKS.Keys[0].IsPublic()):
				t.Errorf("%+v", regs[0].JWKS)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
	for jwks, want := range map[string]string{
		`[]`: `must be {"keys"`, `{"keys":[],"x":1}`: `"x" is unknown`, `null`: "must not be null", `{"keys":null}`: "needs at least one",
	} {
		if _, err := ParseFile(strings.NewReader(`[{"client_id":"c","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":` + jwks + `}]`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", jwks, err, want)
		}
	}
	if _, err := ParseFile(strings.NewReader(`[{"client_id":"c","redirect_uris":["https://a.example/cb"],"jwks":{"keys":[` + good + `]}}]`)); err == nil || !strings.Contains(err.Error(), "only read with") {
		t.Errorf("keys of a client with a secret: %v", err)
	}
}

// What is stored of a file is itself a file that says the same.
func FuzzParseFile(f *testing.F) {
	f.Add(contract)
	f.Add(`[{"client_id":"a","redirect_uris":["https://a.example/cb"]},{"client_id":"b","grant_types":["client_credentials"]}]`)
	f.Add(`[{"client_id":"n","application_type":"native","token_endpoint_auth_method":"none","redirect_uris":["http://[::1]/cb","org.example.app:/cb"]}]`)
	f.Add(`[{"client_id":"k","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]},"kapi_min_acr":"high","kapi_mfa_required_from":"2026-07-01T00:00:00Z"}]`)
	f.Fuzz(func(t *testing.T, file string) {
		regs, err := ParseFile(strings.NewReader(file))
		if err != nil {
			if regs != nil || err.Error() == "" {
				t.Error("an error and clients, or an error without words")
			}
			return
		}
		for _, reg := range regs {
			again := parse(t, "["+string(reg.Raw)+"]")[0]
			again.Line, again.Secret = reg.Line, reg.Secret
			if !reflect.DeepEqual(again, reg) {
				t.Errorf("%s\nreads back as %+v\nwant %+v", reg.Raw, again, reg)
			}
			for _, uri := range append(reg.RedirectURIs, reg.PostLogoutURIs...) {
				if o, err := origin(uri); err == nil && strings.ContainsAny(o, "; ',*\"\\") {
					t.Errorf("origin %q", o)
				}
				if lower := strings.ToLower(uri); strings.HasPrefix(lower, "javascript:") || strings.HasPrefix(lower, "data:") || strings.Contains(uri, "#") {
					t.Errorf("redirect to %q", uri)
				}
			}
		}
	})
}
