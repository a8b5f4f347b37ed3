package program

import (
	"bufio"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/factors/webauthn"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/loginui/page"
)

// Settings are the resolved configuration, documented in docs/operating.md. The zero value is not usable: enter with
// resolve, which refuses what is unknown or inconsistent and says how to mend it.
type Settings struct {
	Issuer         string // https, or http on loopback; no path, no trailing slash
	Listen         string
	Database       string // sqlite:PATH or postgres://…
	SecretFile     string
	AuditAnchor    string
	SMS, Mail      string
	SMSTemplate    string
	SIMMessage     string
	Messenger      string
	SendForecast   int // messages to phones on a usual day; 0 = nobody knows
	SIMSwap        string
	SIMEvents      string
	Push           pushSettings
	TLSCert        string
	TLSKey         string
	MTLS           string // address where clients show certificates; "" = nowhere
	MTLSListen     string // "" = a trusted proxy takes them
	TrustedProxies []netip.Prefix
	MetricsListen  string
	GeoFile        string
	KeyRoots       *x509.CertPool    // of makers of security keys; nil = nobody's word counts
	KeyModels      *webauthn.Allowed // that may be registered; nil = any
	LogLevel       string
	Passwords      password.Profile
	AppMinimum     map[string]device.Version // by platform
	AppLinks       map[string]string         // by platform
	Operator       string                    // who runs this, as people read it; "" = not told
	AutoMigrate    bool
	TestClock      string
}

// setting is one KAPI_ variable.
type setting struct {
	name   string // without KAPI_
	def    string
	help   string
	secret bool // never by flag when it carries a password
	list   bool // of all that is let in: a file of it that holds nothing is a mistake and does not let everything in
	take   func(s *Settings, value string) error
}

func text(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error { *field(s) = v; return nil }
}

// settings in the order of --help.
var settings = []setting{
	{name: "ISSUER", def: "http://localhost:8080", help: "the address people and clients know: https, or http on loopback; no path", take: takeIssuer},
	{name: "LISTEN", def: "127.0.0.1:8080", help: "host:port to listen on", take: takeAddress("LISTEN", func(s *Settings) *string { return &s.Listen })},
	{name: "DATABASE", def: "sqlite:kapi.db", help: "sqlite:PATH or postgres://user@host/name", secret: true, take: takeDatabase},
	{name: "SECRET_FILE", help: "file of the root key; default beside the SQLite file", take: text(func(s *Settings) *string { return &s.SecretFile })},
	{name: "AUDIT_ANCHOR", help: "file that the head of the audit chain is appended to each minute; default beside the root key", take: text(func(s *Settings) *string { return &s.AuditAnchor })},
	{name: "SMS", help: "gateways, the preferred first: inbox:http://127.0.0.1:8082, smpp://user:password@host:port, https://…#template=FILE", secret: true, take: text(func(s *Settings) *string { return &s.SMS })},
	{name: "SMS_TEMPLATE", help: "template file of https gateways that name none with #template=FILE", take: text(func(s *Settings) *string { return &s.SMSTemplate })},
	{name: "SIM_MESSAGE", help: "gateways of SIM messages, as KAPI_SMS; without any they go by SMS", secret: true, take: text(func(s *Settings) *string { return &s.SIMMessage })},
	{name: "MESSENGER", help: "gateways of the messenger: https://user:password@host/path or inbox:http://127.0.0.1:8082", secret: true, take: text(func(s *Settings) *string { return &s.Messenger })},
	{name: "MAIL", help: "gateways of e-mail: smtp://user:password@host:587?from=kapi@example.org or inbox:http://127.0.0.1:8082", secret: true, take: text(func(s *Settings) *string { return &s.Mail })},
	{name: "SEND_FORECAST", help: "messages to phones on a usual day, of all replicas: at twice as many an alert rings, at four times one replica sends no codes", take: takeForecast},
	{name: "SIM_SWAP", help: "the operator's SIM swap API: https://CLIENT:SECRET@host/sim-swap/v2#token=https://host/token; without it nobody is asked", secret: true, take: text(func(s *Settings) *string { return &s.SIMSwap })},
	{name: "SIM_EVENTS", help: "proof of the operator's events: bearer:TOKEN or jwks:FILE#iss=ISSUER; without it there is no endpoint for them", secret: true, take: text(func(s *Settings) *string { return &s.SIMEvents })},
	{name: "PUSH", help: "inbox:http://127.0.0.1:8082: the simulated phone takes pushes to native apps; Web Push needs no setting", take: takePushInbox},
	{name: "PUSH_HOSTS", help: "further push services of browsers: push.example.org,*.example.net; off = no Web Push", take: takePushHosts},
	{name: "PUSH_FCM", help: "key file of a Google service account, as KAPI_PUSH_FCM_FILE: pushes to apps on Android", secret: true, take: text(func(s *Settings) *string { return &s.Push.FCM })},
	{name: "PUSH_APNS", help: "key (.p8) of Apple's push service, as KAPI_PUSH_APNS_FILE: pushes to apps on iOS", secret: true, take: text(func(s *Settings) *string { return &s.Push.APNs })},
	{name: "PUSH_APNS_KEY_ID", help: "its id, ten characters", take: text(func(s *Settings) *string { return &s.Push.APNsKeyID })},
	{name: "PUSH_APNS_TEAM", help: "id of the team, ten characters", take: text(func(s *Settings) *string { return &s.Push.APNsTeam })},
	{name: "PUSH_APNS_TOPICS", help: "bundle ids of the apps, the usual one first", take: takePushTopics},
	{name: "PUSH_APNS_SANDBOX", def: "false", help: "push to apps that are not from the store", take: takeBool("KAPI_PUSH_APNS_SANDBOX", func(s *Settings) *bool { return &s.Push.APNsTest })},
	{name: "PUSH_HMS", help: "id and secret of the app at Huawei, as KAPI_PUSH_HMS_FILE: {\"app_id\": \"…\", \"client_secret\": \"…\"}", secret: true, take: text(func(s *Settings) *string { return &s.Push.HMS })},
	{name: "TLS_CERT", help: "certificate chain, PEM; reloaded when it changes", take: text(func(s *Settings) *string { return &s.TLSCert })},
	{name: "TLS_KEY", help: "its key, PEM", take: text(func(s *Settings) *string { return &s.TLSKey })},
	{name: "TRUSTED_PROXIES", help: "addresses or prefixes whose X-Forwarded-For is believed, comma-separated", take: takeProxies},
	{name: "MTLS", help: "the address where clients show certificates, another one than the issuer: https://mtls.login.example.org", take: takeMTLS},
	{name: "MTLS_LISTEN", help: "host:port to listen on for it; without it a trusted proxy does and sends Client-Cert", take: takeAddress("MTLS_LISTEN", func(s *Settings) *string { return &s.MTLSListen })},
	{name: "METRICS_LISTEN", help: "host:port of /metrics; off unless set", take: takeAddress("METRICS_LISTEN", func(s *Settings) *string { return &s.MetricsListen })},
	{name: "GEO_FILE", help: "MMDB file that turns networks into places, followed when it changes; without it pages show the network", take: text(func(s *Settings) *string { return &s.GeoFile })},
	{name: "WEBAUTHN_ROOTS", help: "PEM file with the roots of makers of security keys whose keys count as hardware (hwk); without it none does", take: takeKeyRoots},
	{name: "WEBAUTHN_ALLOWED", help: "models of security keys that people may register: AAGUIDs, and key identifiers of U2F certificates; needs KAPI_WEBAUTHN_ROOTS; without it any", list: true, take: takeKeyModels},
	{name: "PASSWORD_PROFILE", def: "nist", help: "rules for new passwords: nist, gateway or gateway-older", take: takeProfile},
	{name: "OPERATOR", help: "name of the institution that runs this, shown at the foot of every page", take: takeOperator},
	{name: "APP_MIN_VERSION", help: "the least version of the app on registered devices: 1.2.0, or web=1.0.0,android=2.1.0", take: takeAppMinimum},
	{name: "APP_LINKS", help: "where a newer app is, by platform: android=https://…,ios=https://…; else ISSUER/app", take: takeAppLinks},
	{name: "LOG_LEVEL", def: "info", help: "debug, info, warn or error", take: takeLevel},
	{name: "AUTO_MIGRATE", def: "false", help: "let serve bring a Postgres schema up (SQLite always is)", take: takeBool("KAPI_AUTO_MIGRATE", func(s *Settings) *bool { return &s.AutoMigrate })},
	{name: "TEST_CLOCK", help: "a file with a shift such as -2h, only in builds with -tags testclock", take: takeTestClock},
	{name: "FAIL", help: "what happens at which failpoints, only in builds with -tags failpoint", take: takeFail},
}

func known(name string) *setting {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return &settings[i]
}

func (s setting) variable() string { return "KAPI_" + s.name }
func (s setting) flag() string {
	return strings.ReplaceAll(strings.ToLower(s.name), "_", "-")
}

// resolve reads the settings: a flag wins over the environment, that over the configuration file, that over the default.
// Every mistake is reported at once.
func resolve(flags map[string]string, environ []string, configFile string) (Settings, error) {
	var problems []error
	values := map[string]string{}
	var env []string
	for _, e := range environ {
		if strings.HasPrefix(e, "KAPI_") {
			env = append(env, e)
		}
	}
	if configFile != "" {
		lines, err := readConfig(configFile)
		if err != nil {
			problems = append(problems, err)
		}
		// What the environment gives is not read here: a service gets copies of files that it cannot open where the file names them.
		lines = slices.DeleteFunc(lines, func(l string) bool {
			return slices.ContainsFunc(env, func(e string) bool { return gives(e) == gives(l) })
		})
		problems = append(problems, collect(values, lines, configFile)...)
	}
	problems = append(problems, collect(values, env, "the environment")...)
	for name, v := range flags {
		st := known(name)
		if st.secret && carriesPassword(v) {
			problems = append(problems, fmt.Errorf("--%s carries a password, which other users of the machine can read: give it as %s or %s_FILE", st.flag(), st.variable(), st.variable()))
			continue
		}
		values[name] = v
	}
	var s Settings
	for _, st := range settings {
		v, given := values[st.name]
		if !given {
			v = st.def
		}
		if v == "" {
			if st.def != "" { // a variable of a template that nobody filled, most likely
				problems = append(problems, fmt.Errorf("%s is empty: give it a value, or remove it for %s", st.variable(), st.def))
			}
			continue
		}
		if err := st.take(&s, v); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		problems = append(problems, s.complete())
	}
	return s, errors.Join(problems...)
}

// gives is the variable that a NAME=VALUE line gives: KAPI_X for KAPI_X_FILE too. An unknown one stays as it is.
func gives(line string) string {
	key, _, _ := strings.Cut(line, "=")
	base, isFile := strings.CutSuffix(key, "_FILE")
	if isFile && known(strings.TrimPrefix(key, "KAPI_")) == nil && known(strings.TrimPrefix(base, "KAPI_")) != nil {
		return base
	}
	return key
}

// collect adds NAME=VALUE lines; KAPI_X_FILE gives X by a file's content.
func collect(values map[string]string, lines []string, where string) (problems []error) {
	from := map[string]string{}
	for _, l := range lines {
		key, v, _ := strings.Cut(l, "=")
		name, ours := strings.CutPrefix(key, "KAPI_")
		if !ours {
			problems = append(problems, fmt.Errorf("%s: %q is no setting: they all begin with KAPI_", where, key))
			continue
		}
		if known(name) == nil {
			base, isFile := strings.CutSuffix(name, "_FILE")
			if !isFile || known(base) == nil {
				problems = append(problems, unknown(key, where))
				continue
			}
			b, err := os.ReadFile(v)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", key, err))
				continue
			}
			name, v = base, strings.TrimRight(string(b), "\r\n")
			if v == "" && known(base).list {
				problems = append(problems, fmt.Errorf("%s: the file is empty: list something there, or remove the setting", key))
				continue
			}
		}
		if other, twice := from[name]; twice {
			problems = append(problems, fmt.Errorf("%s gives both %s and %s: keep one", where, other, key))
			continue
		}
		from[name] = key
		values[name] = v
	}
	return problems
}

func unknown(key, where string) error {
	best, least := "", min(4, (len(key)-len("KAPI_"))/2+1) // a short name is near to anything
	for _, s := range settings {
		if d := distance(key, s.variable()); d < least {
			best, least = s.variable(), d
		}
	}
	if best != "" {
		return fmt.Errorf("%s: unknown setting %s: did you mean %s?", where, key, best)
	}
	return fmt.Errorf("%s: unknown setting %s: kapi serve --help lists them all", where, key)
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// readConfig reads KAPI_X=value lines; empty lines and those that begin with # are skipped.
func readConfig(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !strings.Contains(line, "=") {
			return nil, fmt.Errorf("%s:%d: want KAPI_NAME=value", path, n)
		}
		lines = append(lines, line)
	}
	return lines, sc.Err()
}

func carriesPassword(v string) bool {
	if strings.HasPrefix(v, "bearer:") {
		return true
	}
	for part := range strings.SplitSeq(v, ",") {
		u, err := url.Parse(part)
		if err != nil {
			return true // cannot tell: be careful
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			return true
		}
	}
	return strings.Contains(v, "password=")
}

func takeIssuer(s *Settings, v string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(v, "?") || strings.HasSuffix(v, "#"):
		return fmt.Errorf("KAPI_ISSUER %q is no address like https://login.example.org", v)
	case u.Path != "":
		return fmt.Errorf("KAPI_ISSUER %q must have no path and no trailing slash: %s://%s", v, u.Scheme, u.Host)
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	default:
		return fmt.Errorf("KAPI_ISSUER %q must be https; http is for loopback only", v)
	}
	if strings.ToLower(v) != v {
		return fmt.Errorf("KAPI_ISSUER %q must be lower case, since clients compare it letter by letter", v)
	}
	s.Issuer = v
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

func takeAddress(name string, field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if _, _, err := net.SplitHostPort(v); err != nil {
			return fmt.Errorf("KAPI_%s %q: want host:port, e.g. 127.0.0.1:8080", name, v)
		}
		*field(s) = v
		return nil
	}
}

func takeDatabase(s *Settings, v string) error {
	path, sqlite := strings.CutPrefix(v, "sqlite:")
	switch {
	case sqlite && path == "":
		return errors.New("KAPI_DATABASE sqlite: needs a path, e.g. sqlite:/var/lib/kapi/kapi.db")
	case !sqlite && !strings.HasPrefix(v, "postgres://") && !strings.HasPrefix(v, "postgresql://"):
		return errors.New("KAPI_DATABASE must begin with sqlite: or postgres://")
	}
	s.Database = v
	return nil
}

func takeProxies(s *Settings, v string) error {
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, err := netip.ParseAddr(part)
			if err != nil {
				return fmt.Errorf("KAPI_TRUSTED_PROXIES: %q is no address and no prefix like 10.0.0.0/8", part)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		s.TrustedProxies = append(s.TrustedProxies, p)
	}
	return nil
}

func takeProfile(s *Settings, v string) (err error) {
	if s.Passwords, err = password.ProfileNamed(v); err != nil {
		return fmt.Errorf("KAPI_PASSWORD_PROFILE: %w", err)
	}
	return nil
}

func takeOperator(s *Settings, v string) error {
	if v != page.Clean(v, 120) {
		return fmt.Errorf("KAPI_OPERATOR %q: a name of at most 120 characters on one line", v)
	}
	s.Operator = v
	return nil
}

func takeLevel(s *Settings, v string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, v) {
		return fmt.Errorf("KAPI_LOG_LEVEL %q: debug, info, warn or error", v)
	}
	s.LogLevel = v
	return nil
}

func takeBool(name string, field func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		switch v {
		case "true":
			*field(s) = true
		case "false":
		default:
			return fmt.Errorf("%s %q: true or false", name, v)
		}
		return nil
	}
}

func takeTestClock(s *Settings, v string) error {
	if !testClockBuilt {
		return errors.New("KAPI_TEST_CLOCK moves the clock of a test build; this is a release build, which refuses it")
	}
	s.TestClock = v
	return nil
}

// takeFail arms the process and not an App: a death is no setting of one of several.
func takeFail(_ *Settings, v string) error {
	if err := failpoint.Arm(v); err != nil {
		return fmt.Errorf("KAPI_FAIL: %w", err)
	}
	return nil
}

// complete fills what follows from other settings and refuses what does not fit together.
func (s *Settings) complete() error {
	if s.SecretFile == "" {
		path, sqlite := strings.CutPrefix(s.Database, "sqlite:")
		if !sqlite {
			return errors.New("KAPI_SECRET_FILE is needed with Postgres: make one with kapi secret new FILE and give every replica the same")
		}
		s.SecretFile = path + ".secret"
	}
	if s.AuditAnchor == "" {
		s.AuditAnchor = filepath.Join(filepath.Dir(s.SecretFile), "audit.anchor")
	}
	switch {
	case s.KeyModels != nil && s.KeyRoots == nil: // nothing a key says of its model is worth anything
		return errors.New("KAPI_WEBAUTHN_ALLOWED needs the makers' roots: set KAPI_WEBAUTHN_ROOTS")
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return errors.New("KAPI_TLS_CERT and KAPI_TLS_KEY go together: give both or none")
	case s.TLSCert != "" && !strings.HasPrefix(s.Issuer, "https://"):
		return fmt.Errorf("KAPI_TLS_CERT is set, but KAPI_ISSUER %s is not https", s.Issuer)
	}
	return s.showing()
}

func (s Settings) sqlite() bool { return strings.HasPrefix(s.Database, "sqlite:") }

// host of the issuer, as people see it.
func (s Settings) host() string {
	_, host, _ := strings.Cut(s.Issuer, "://")
	return host
}

// Resolve reads the settings for a program around an App, such as a test: values by name without KAPI_, and an environment.
func Resolve(values map[string]string, environ []string) (Settings, error) {
	return resolve(values, environ, "")
}

func (s Settings) secure() bool { return strings.HasPrefix(s.Issuer, "https://") }
