package htmlcheck

import (
	"strings"
	"testing"
)

const good = `<!doctype html><html lang="tr" dir="ltr"><head><title>Giriş yap – Kapı</title></head><body>
<a class="skip" href="#main">geç</a><main id="main"><h1>Giriş yap</h1>
<form method="post" action="/in"><label for="code">Kod</label><input id="code" name="code" autocomplete="one-time-code" value="1">
<button type="button">Göster</button><button>Devam</button></form></main><p role="status"></p></body></html>`

func TestSelectors(t *testing.T) {
	n, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]int{
		"input": 1, "#main": 1, "a.skip": 1, "main form button": 2, "input#code[autocomplete=one-time-code]": 1, "[role]": 1,
		"[role=alert]": 0, "form form": 0, "label[for=code]": 1, "main a": 0,
	} {
		if got := len(n.All(selector)); got != want {
			t.Errorf("%s matches %d, want %d", selector, got, want)
		}
	}
	if _, err := n.One("button"); err == nil {
		t.Error("two buttons are one")
	}
	f, err := n.Form("/in")
	if err != nil || f.Submit != "Devam" || f.Fields["code"] != "1" || f.Method != "post" {
		t.Errorf("form %+v, %v", f, err)
	}
	if _, err := n.Form("/out"); err == nil {
		t.Error("found a form that is not there")
	}
	code, _ := n.One("#code")
	if n.Label(code) != "Kod" {
		t.Errorf("label %q", n.Label(code))
	}
	for _, selector := range []string{"a > b", "a:hover", "*"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was taken", selector)
				}
			}()
			n.All(selector)
		}()
	}
}

func TestRules(t *testing.T) {
	if bad := Rules(good); len(bad) > 0 {
		t.Fatalf("the good page: %v", bad)
	}
	for name, change := range map[string][2]string{
		"doctype":        {"<!doctype html>", ""},
		"language":       {`lang="tr"`, ``},
		"two h1":         {"<h1>", "<h1>a</h1><h1>"},
		"title":          {"<title>Giriş", "<title>Çıkış"},
		"error title":    {"<title>", "<title>Hata: "},
		"skip":           {`href="#main"`, `href="#top"`},
		"inline script":  {"</body>", "<script>1</script></body>"},
		"inline style":   {"<h1>", `<h1 style="color:red">`},
		"style sheet":    {"</head>", "<style></style></head>"},
		"handler":        {"<h1>", `<h1 onclick="x">`},
		"javascript":     {`action="/in"`, `action="javascript:x"`},
		"label":          {`for="code"`, `for="coda"`},
		"autocomplete":   {`autocomplete="one-time-code"`, `autocomplete="off"`},
		"secret":         {`name="code"`, `type="password" name="code"`},
		"get form":       {`method="post"`, `method="get"`},
		"no button":      {"<button>Devam</button>", ""},
		"silent button":  {"Göster", ""},
		"double id":      {"<h1>", `<h1 id="code">`},
		"autofocus":      {"<input", "<input autofocus"},
		"missing status": {` role="status"`, ""},
	} {
		page := strings.Replace(good, change[0], change[1], 1)
		if page == good {
			t.Fatalf("%s: nothing changed", name)
		}
		if len(Rules(page)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
