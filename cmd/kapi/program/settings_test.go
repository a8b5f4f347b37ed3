package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name   string
		flags  map[string]string
		env    []string
		config string
		check  func(Settings) bool
		err    string
	}{
		{name: "defaults", check: func(s Settings) bool {
			return s.Issuer == "http://localhost:8080" && s.Listen == "127.0.0.1:8080" && s.SecretFile == "kapi.db.secret" && s.AuditAnchor == "audit.anchor"
		}},
		{name: "a flag wins over the environment", flags: map[string]string{"LISTEN": "127.0.0.1:1"}, env: []string{"KAPI_LISTEN=127.0.0.1:2"},
			check: func(s Settings) bool { return s.Listen == "127.0.0.1:1" }},
		{name: "the environment wins over the file", config: "KAPI_LISTEN=127.0.0.1:3\n# a note\n\nKAPI_LOG_LEVEL=warn\n", env: []string{"KAPI_LISTEN=127.0.0.1:2", "HOME=/x"},
			check: func(s Settings) bool { return s.Listen == "127.0.0.1:2" && s.LogLevel == "warn" }},
		{name: "a value by file", env: []string{"KAPI_DATABASE_FILE=" + file("db", "postgres://u:p@h/d\n"), "KAPI_SECRET_FILE=x"},
			check: func(s Settings) bool { return s.Database == "postgres://u:p@h/d" && s.SecretFile == "x" }},
		{name: "the environment gives what the file names a file for", config: "KAPI_DATABASE_FILE=" + dir + "/none\n", env: []string{"KAPI_DATABASE=sqlite:x"},
			check: func(s Settings) bool { return s.Database == "sqlite:x" }},
		{name: "the environment names a file for what the file gives", config: "KAPI_LISTEN=127.0.0.1:3\n", env: []string{"KAPI_LISTEN_FILE=" + file("l6", "127.0.0.1:6")},
			check: func(s Settings) bool { return s.Listen == "127.0.0.1:6" }},
		{name: "a file that names one that is not there", config: "KAPI_DATABASE_FILE=" + dir + "/none\n", env: []string{"KAPI_LISTEN=127.0.0.1:2"}, err: "no such file"},
		{name: "an empty value", env: []string{"KAPI_ISSUER="}, err: "KAPI_ISSUER is empty"},
		{name: "an empty value that turns off", env: []string{"KAPI_SMS=", "KAPI_METRICS_LISTEN="}, check: func(s Settings) bool { return s.SMS == "" && s.MetricsListen == "" }},
		{name: "neither true nor false", env: []string{"KAPI_AUTO_MIGRATE=maybe"}, err: `KAPI_AUTO_MIGRATE "maybe": true or false`},
		{name: "a forecast", env: []string{"KAPI_SEND_FORECAST=250000"}, check: func(s Settings) bool { return s.SendForecast == 250000 }},
		{name: "a forecast of nothing", env: []string{"KAPI_SEND_FORECAST=0"}, err: "on a usual day, from 1"},
		{name: "a forecast in words", env: []string{"KAPI_SEND_FORECAST=many"}, err: "on a usual day, from 1"},
		{name: "a forecast beyond all measure", env: []string{"KAPI_SEND_FORECAST=1000000001"}, err: "on a usual day, from 1"},
		{name: "unknown, short", env: []string{"KAPI_FOO=1"}, err: "unknown setting KAPI_FOO: kapi serve --help"},
		{name: "unknown, near", env: []string{"KAPI_ISUER=http://localhost:1"}, err: "did you mean KAPI_ISSUER?"},
		{name: "unknown, far", env: []string{"KAPI_QQQQQQQQ=1"}, err: "unknown setting KAPI_QQQQQQQQ"},
		{name: "twice", env: []string{"KAPI_LISTEN=127.0.0.1:2", "KAPI_LISTEN_FILE=" + file("l", "127.0.0.1:3")}, err: "keep one"},
		{name: "a file that is not there", env: []string{"KAPI_LISTEN_FILE=" + dir + "/none"}, err: "no such file"},
		{name: "a password by flag", flags: map[string]string{"DATABASE": "postgres://u:p@h/d"}, err: "carries a password"},
		{name: "a gateway password by flag", flags: map[string]string{"SMS": "inbox:http://127.0.0.1:1,smpp://u:p@h:1"}, err: "carries a password"},
		{name: "not a line", config: "LISTEN\n", err: "want KAPI_NAME=value"},
		{name: "foreign line", config: "LISTEN=1\n", err: "no setting"},
		{name: "issuer with a path", env: []string{"KAPI_ISSUER=https://a.example/x"}, err: "no path"},
		{name: "issuer with a slash", env: []string{"KAPI_ISSUER=https://a.example/"}, err: "no trailing slash"},
		{name: "issuer in clear", env: []string{"KAPI_ISSUER=http://a.example"}, err: "must be https"},
		{name: "issuer on loopback", env: []string{"KAPI_ISSUER=http://127.0.0.1:9"}, check: func(s Settings) bool { return s.host() == "127.0.0.1:9" }},
		{name: "issuer in capitals", env: []string{"KAPI_ISSUER=https://A.example"}, err: "lower case"},
		{name: "half a certificate", env: []string{"KAPI_TLS_CERT=x"}, err: "go together"},
		{name: "a certificate without https", env: []string{"KAPI_TLS_CERT=x", "KAPI_TLS_KEY=y"}, err: "not https"},
		{name: "postgres without a root key", env: []string{"KAPI_DATABASE=postgres://h/d"}, err: "KAPI_SECRET_FILE is needed"},
		{name: "another database", env: []string{"KAPI_DATABASE=mysql:x"}, err: "must begin with"},
		{name: "proxies", env: []string{"KAPI_TRUSTED_PROXIES=10.0.0.0/8, ::1"}, check: func(s Settings) bool {
			return len(s.TrustedProxies) == 2 && s.TrustedProxies[1].String() == "::1/128"
		}},
		{name: "certificates by a proxy", env: []string{"KAPI_MTLS=https://m.example:8443", "KAPI_TRUSTED_PROXIES=::1"}, check: func(s Settings) bool {
			return s.certHost() == "m.example:8443" && s.headerHost() == "m.example:8443"
		}},
		{name: "certificates by ourselves", env: []string{"KAPI_ISSUER=https://a.example", "KAPI_MTLS=https://m.example", "KAPI_MTLS_LISTEN=127.0.0.1:2", "KAPI_TLS_CERT=x", "KAPI_TLS_KEY=y", "KAPI_TRUSTED_PROXIES=::1"},
			check: func(s Settings) bool { return s.certHost() == "m.example" && s.headerHost() == "" }},
		{name: "certificates of nobody", env: []string{"KAPI_MTLS=https://m.example"}, err: "nobody could show a certificate"},
		{name: "certificates at the issuer", env: []string{"KAPI_ISSUER=https://a.example", "KAPI_MTLS=https://a.example", "KAPI_TRUSTED_PROXIES=::1"}, err: "is the issuer"},
		{name: "certificates in clear", env: []string{"KAPI_MTLS=http://m.example"}, err: "want an address like"},
		{name: "certificates with a path", env: []string{"KAPI_MTLS=https://m.example/"}, err: "want an address like"},
		{name: "certificates of somebody", env: []string{"KAPI_MTLS=https://u@m.example"}, err: "want an address like"},
		{name: "certificates at the usual port, said", env: []string{"KAPI_MTLS=https://m.example:443"}, err: "want an address like"},
		{name: "a listener without its address", env: []string{"KAPI_MTLS_LISTEN=127.0.0.1:2"}, err: "needs KAPI_MTLS"},
		{name: "a listener without a certificate", env: []string{"KAPI_MTLS=https://m.example", "KAPI_MTLS_LISTEN=127.0.0.1:2"}, err: "needs KAPI_TLS_CERT"},
		{name: "no proxy", env: []string{"KAPI_TRUSTED_PROXIES=me"}, err: "no address"},
		{name: "password rules", env: []string{"KAPI_PASSWORD_PROFILE=gateway"}, check: func(s Settings) bool { return s.Passwords.Name == "gateway" }},
		{name: "no such password rules", env: []string{"KAPI_PASSWORD_PROFILE=lax"}, err: "KAPI_PASSWORD_PROFILE"},
		{name: "push hosts", env: []string{"KAPI_PUSH_HOSTS=push.example.org, *.example.net"}, check: func(s Settings) bool { return len(s.Push.Hosts) == 2 && !s.Push.NoWeb }},
		{name: "no web push", env: []string{"KAPI_PUSH_HOSTS=off"}, check: func(s Settings) bool { return s.Push.NoWeb }},
		{name: "push hosts that are addresses", env: []string{"KAPI_PUSH_HOSTS=https://push.example.org/x"}, err: "KAPI_PUSH_HOSTS"},
		{name: "a key file", env: []string{"KAPI_PUSH_FCM_FILE=" + file("fcm", "{\"a\":\n1}\n")}, check: func(s Settings) bool { return s.Push.FCM == "{\"a\":\n1}" }},
		{name: "a key by flag", flags: map[string]string{"PUSH_APNS": "-----BEGIN PRIVATE KEY-----\nMIGT"}, err: "carries a password"},
		{name: "a secret by flag", flags: map[string]string{"PUSH_HMS": "{\"app_id\":\"1\",\"client_secret\":\"x\"}"}, err: "carries a password"},
		{name: "a model of keys that is none", env: []string{"KAPI_WEBAUTHN_ALLOWED=YubiKey"}, err: "KAPI_WEBAUTHN_ALLOWED: \"YubiKey\" is neither"},
		{name: "the model of no key", env: []string{"KAPI_WEBAUTHN_ALLOWED=00000000-0000-0000-0000-000000000000"}, err: "zeros"},
		{name: "no model of keys, by commas", env: []string{"KAPI_WEBAUTHN_ALLOWED= , "}, err: "lists no model"},
		{name: "no model of keys, by a file", env: []string{"KAPI_WEBAUTHN_ALLOWED_FILE=" + file("m", "\n")}, err: "KAPI_WEBAUTHN_ALLOWED_FILE: the file is empty"},
		{name: "models without makers", env: []string{"KAPI_WEBAUTHN_ALLOWED=f8a011f3-8c0a-4d15-8006-17111f9edc7d"}, err: "set KAPI_WEBAUTHN_ROOTS"},
		{name: "another push inbox", env: []string{"KAPI_PUSH=https://push.example.org"}, err: "KAPI_PUSH: want inbox"},
		{name: "operator", env: []string{"KAPI_OPERATOR=two\nlines"}, err: "on one line"},
		{name: "level", env: []string{"KAPI_LOG_LEVEL=loud"}, err: "debug, info, warn or error"},
		{name: "the test clock", env: []string{"KAPI_TEST_CLOCK=x"}, err: "release build"},
		{name: "failpoints", env: []string{"KAPI_FAIL=password-right:kill"}, err: "KAPI_FAIL: failpoints are for test builds"},
		{name: "all mistakes at once", env: []string{"KAPI_LOG_LEVEL=loud", "KAPI_LISTEN=here"}, err: "want host:port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := ""
			if tc.config != "" {
				config = file("config", tc.config)
			}
			s, err := resolve(tc.flags, tc.env, config)
			switch {
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("error %v, want one with %q", err, tc.err)
			case tc.err == "" && err != nil:
				t.Error(err)
			case tc.err == "" && !tc.check(s):
				t.Errorf("%+v", s)
			}
		})
	}
}
