package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify/gateway/smpp"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "t.json")
	if err := os.WriteFile(file, []byte(`{"headers":{"X-Key":"{secret.k}"},"secrets":{"k":"key"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("k\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	routes, err := Parse("smpp://kapi:p%40ss%2Cword@smsc.example:2775#from=3456&system_type=OTP&validity=off, https://api.example/x?y=1#weight=3&most=4&name=vendor-b,inbox:http://127.0.0.1:8082",
		Config{Template: file, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name         string
		weight, most int
	}{{"smpp", 1, 0}, {"vendor-b", 3, 4}, {"inbox", 0, 0}}
	if len(routes) != len(want) {
		t.Fatalf("%d routes", len(routes))
	}
	for i, w := range want {
		if r := routes[i]; r.Gateway.Name() != w.name || r.Weight != w.weight || r.Most != w.most {
			t.Errorf("route %d: %s %+v", i, r.Gateway.Name(), r)
		}
	}
	g := routes[0].Gateway.(*smpp.Gateway)
	if c := g.Config; c.Address != "smsc.example:2775" || c.User != "kapi" || c.Password != "p@ss,word" || c.From != "3456" || c.SystemType != "OTP" || !c.NoValidity || c.TLS {
		t.Errorf("smpp %+v", c)
	}
	if routes, err := Parse("smpps://kapi:x@smsc.example:3550", Config{}); err != nil || !routes[0].Gateway.(*smpp.Gateway).TLS {
		t.Errorf("smpps: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const secret = "hidden-password"
	for name, list := range map[string]string{
		"nothing":             "",
		"empty entry":         "inbox:http://127.0.0.1:1,",
		"unknown kind":        "carrier-pigeon://" + secret,
		"unknown option":      "inbox:http://127.0.0.1:1#" + secret + "=1",
		"option without":      "inbox:http://127.0.0.1:1#from=",
		"option twice":        "inbox:http://127.0.0.1:1#from=A&from=B",
		"weight":              "inbox:http://127.0.0.1:1#weight=-1",
		"most":                "inbox:http://127.0.0.1:1#most=0",
		"name":                "inbox:http://127.0.0.1:1#name=A%20B",
		"same name":           "inbox:http://127.0.0.1:1,inbox:http://127.0.0.1:2",
		"inbox elsewhere":     "inbox:http://phone.example",
		"smpp without user":   "smpp://smsc.example:2775",
		"smpp without port":   "smpp://u:" + secret + "@smsc.example",
		"smpp with a path":    "smpp://u:" + secret + "@smsc.example:1/x",
		"smpp not a URL":      "smpp://u:" + secret + "%zz@smsc.example:1",
		"smpp validity":       "smpp://u:" + secret + "@smsc.example:1#validity=on",
		"smpp template":       "smpp://u:" + secret + "@smsc.example:1#template=x",
		"https, no template":  "https://api.example/",
		"https, credentials":  "https://u:" + secret + "@api.example/#template=/dev/null",
		"https, no such file": "https://api.example/#template=/nowhere/t.json",
		"http elsewhere":      "http://api.example/#template=/dev/null",
		"bad fragment":        "inbox:http://127.0.0.1:1#%zz",
	} {
		_, err := Parse(list, Config{Now: time.Now})
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats what was written: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"inbox:http://127.0.0.1:8082", "smpp://u:hidden@h:1#from=A", "https://a/#template=x", ",,#%", "smpps://[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if strings.Contains(list, "http") {
			list = strings.ReplaceAll(list, "template", "") // opens no files
		}
		routes, err := Parse(list, Config{Now: time.Now})
		if err == nil && len(routes) == 0 {
			t.Fatal("no route and no error")
		}
	})
}

func TestChannels(t *testing.T) {
	for _, c := range []struct{ channel, list, names, wrong string }{
		{"sim", "inbox:http://127.0.0.1:8082", "sim-inbox", ""},
		{"sim", "smpp://u:p@smsc.example:2775", "sim-smpp", ""},
		{"messenger", "https://kapi:pw@bip.example/tes/send#receiver_type=1, inbox:http://127.0.0.1:8082", "messenger-bip messenger-inbox", ""},
		{"mail", "smtp://kapi:pw@mail.example:2525?from=kapi@example.org&sender=Kap%C4%B1, smtps://mail.example?from=kapi@example.org#name=spare", "mail-smtp spare", ""},
		{"mail", "inbox:http://127.0.0.1:8082", "mail-inbox", ""},
		{"sms", "smtp://mail.example?from=kapi@example.org", "", "want inbox"},
		{"mail", "https://mail.example", "", "want inbox"},
		{"messenger", "smpp://u:p@smsc.example:2775", "", "want inbox"},
		{"messenger", "https://bip.example/send", "", "user:password"},
		{"messenger", "https://kapi:SECRET@bip.example/send#receiver_type=x", "", "receiver_type"},
		{"mail", "smtp://kapi:SECRET@mail.example", "", "from="},
		{"mail", "smtp://kapi:SECRET@mail.example?from=kapi@example.org&cc=x", "", "once each"},
		{"mail", "smtp://kapi:SECRET@mail.example?from=kapi@example.org#template=x", "", "unknown option"},
	} {
		routes, err := Parse(c.list, Config{Channel: c.channel})
		var names []string
		for _, r := range routes {
			names = append(names, r.Gateway.Name())
		}
		switch {
		case c.wrong == "" && (err != nil || strings.Join(names, " ") != c.names):
			t.Errorf("%s %s: %v, %v", c.channel, c.list, names, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "SECRET")):
			t.Errorf("%s %s: %v, want %q", c.channel, c.list, err, c.wrong)
		}
	}
}
