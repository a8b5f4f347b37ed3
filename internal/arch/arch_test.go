package arch

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kapi-id/kapi/"

// floor is the height of a package in the picture; an import goes down, or stays on the floor only where mixing says so.
type floor int

const (
	leaf floor = iota
	person
	contract
	state
	domain
	adapter
	whole
)

// rows of the picture. A folder stands for itself and what is below it, the longest prefix wins.
var rows = map[string]floor{
	"cmd": whole, "e2e": whole, "internal/testkapi": whole, "internal/sim": whole, "internal/testpg": leaf, "internal/testcert": leaf, "internal/htmlcheck": leaf,
	"provider": adapter, "loginui": adapter, "factors/": adapter, "storage": adapter,
	"internal/signin": domain, "internal/recovery": domain, "internal/enrolment": domain,
	"internal/session": state, "internal/grant": state, "internal/delegation": state,
	"factors": contract, "clients": contract, "internal/contact": contract, "factors/factortest": contract, "factors/code": contract,
	"internal/notify": person, "internal/notify/notice": state, "internal/account": person, "internal/access": person,
	"internal/audit": leaf, "internal/fault": leaf, "internal/secret": leaf, "internal/throttle": leaf, "internal/web": leaf,
	"internal/words": leaf, "internal/jsonfile": leaf, "internal/acr": leaf, "internal/keyring": leaf, "internal/place": leaf, "internal/failpoint": leaf, "internal/arch": leaf, "internal/qrcode": leaf, "internal/pki": leaf, "internal/registry": leaf,
	"deploy": whole, "docs": whole,
}

// homes: one library, one home.
var homes = map[string][]string{
	"gorm.io/":                             {"storage"},
	"github.com/ncruces/":                  {"storage"},
	"github.com/jackc/pgx/":                {"storage", "internal/testpg"},
	"github.com/pressly/goose/":            {"storage"},
	"github.com/zitadel/oidc/":             {"provider", "factors/banking"},
	"github.com/go-webauthn/":              {"factors/webauthn"},
	"github.com/pquerna/otp":               {"factors/totp"},
	"github.com/boombuler/barcode":         {"internal/qrcode"},
	"go.yaml.in/yaml/":                     {"factors/device/devicetest"},
	"github.com/gorilla/mux":               {"provider", "loginui", "cmd", "internal/testkapi"},
	"github.com/coreos/go-oidc/":           {"internal/sim", "e2e", "internal/testkapi", "cmd"},
	"golang.org/x/oauth2":                  {"internal/sim", "e2e", "internal/testkapi", "cmd"},
	"github.com/linxGnu/gosmpp":            {"internal/notify/gateway/smpp"},
	"github.com/SherClockHolmes/":          {"internal/notify/gateway/webpush"},
	"github.com/alecthomas/kong":           {"cmd"},
	"github.com/prometheus/client_golang":  {"cmd"},
	"github.com/chromedp/":                 {"e2e"},
	"golang.org/x/crypto/argon2":           {"factors/password"},
	"github.com/wneessen/go-mail":          {"internal/notify/gateway/mail"},
	"github.com/emersion/":                 {"internal/notify/gateway/mail"},
	"github.com/nyaruka/phonenumbers":      {"internal/contact"},
	"github.com/oschwald/maxminddb-golang": {"internal/place"},
	"golang.org/x/net/netutil":             {"internal/web"},
	"golang.org/x/net/websocket":           {"internal/sim"},
}

// Test files may reach for the fakes and the real databases.
var testMay = []string{"loginui", "internal/testpg", "internal/testcert", "internal/testkapi", "internal/htmlcheck", "factors/factortest", "storage", "internal/sim"}

func TestArrowsPointDown(t *testing.T) {
	root := "../.."
	seen := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "tools" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := filepath.ToSlash(filepath.Dir(rel))
		for _, i := range f.Imports {
			to, _ := strconv.Unquote(i.Path.Value)
			if why := refuse(from, to, strings.HasSuffix(p, "_test.go")); why != "" {
				t.Errorf("%s imports %s: %s", rel, to, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("only %d files seen: the test looks at the wrong place", seen)
	}
}

// refuse says why from may not import to; "" = it may.
func refuse(from, to string, test bool) string {
	for lib, at := range homes {
		if strings.HasPrefix(to, lib) && !test && !slices.ContainsFunc(at, func(h string) bool { return within(from, h) }) {
			return fmt.Sprintf("the home of %s is %s", strings.TrimSuffix(lib, "/"), strings.Join(at, ", "))
		}
	}
	to, ours := strings.CutPrefix(to, module)
	if !ours || (test && slices.ContainsFunc(testMay, func(h string) bool { return within(to, h) })) {
		return ""
	}
	fromRow, toRow := row(from), row(to)
	switch {
	case fromRow < 0 || toRow < 0:
		return "a package without a place in the picture"
	case within(from, "internal/sim") && !within(to, "internal/sim"):
		return "a simulator is an outside party and knows nothing of ours"
	case fromRow == whole:
		return ""
	case toRow == whole:
		return "only whole programs import whole programs"
	case family(from) == family(to):
		return ""
	case fromRow == adapter && toRow == adapter:
		if within(from, "loginui") && within(to, "loginui/page") {
			return ""
		}
		return "adapters never import one another"
	case toRow > fromRow:
		return "the arrow points up"
	case fromRow == leaf && toRow == leaf && to != "internal/fault":
		return "leaves stand alone (but for fault)"
	}
	return ""
}

// family is what may mix: the sub-folders of one adapter, but each factor and each audience of its own.
func family(p string) string {
	parts := strings.Split(p, "/")
	switch {
	case parts[0] == "internal" || parts[0] == "factors" || parts[0] == "loginui":
		return path.Join(parts[:min(2, len(parts))]...)
	}
	return parts[0]
}

func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func row(p string) floor {
	best, at := -1, floor(-1)
	for prefix, f := range rows {
		ok := within(p, prefix)
		if strings.HasSuffix(prefix, "/") {
			ok = strings.HasPrefix(p, prefix)
		}
		if ok && len(prefix) > best {
			best, at = len(prefix), f
		}
	}
	return at
}

func TestRefuse(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		refused  bool
	}{
		{"provider", module + "internal/signin", false},
		{"provider", module + "loginui/page", true},
		{"provider", module + "storage", true},
		{"provider", module + "provider/keys", false},
		{"loginui/visitor", module + "loginui/page", false},
		{"loginui/visitor", module + "loginui/citizen", true},
		{"factors/sms", module + "factors", false},
		{"factors/sms", module + "factors/password", true},
		{"factors/sms", module + "storage", true},
		{"factors", module + "factors/sms", true},
		{"storage", module + "internal/signin", false},
		{"internal/signin", module + "storage", true},
		{"internal/account", module + "internal/signin", true},
		{"internal/audit", module + "internal/fault", false},
		{"internal/audit", module + "internal/account", true},
		{"internal/sim/portal", module + "clients", true},
		{"cmd/kapi", module + "provider", false},
		{"clients", "gorm.io/gorm", true},
		{"storage", "gorm.io/gorm", false},
		{"loginui/visitor", "github.com/zitadel/oidc/v3/pkg/op", true},
		{"internal/nowhere", module + "internal/fault", true},
	} {
		if got := refuse(tc.from, tc.to, false); (got != "") != tc.refused {
			t.Errorf("%s → %s: %q", tc.from, tc.to, got)
		}
	}
}
