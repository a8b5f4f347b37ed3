package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/cmd/kapi/program"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// settings are all KAPI_ variables that serve knows, as its help lists them, with their defaults.
func settings(t *testing.T) map[string]string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := program.Main([]string{"serve", "--help"}, nil, &out, &errs); status != 0 {
		t.Fatalf("kapi serve --help: %d %s", status, errs.String())
	}
	text := regexp.MustCompile(`\s+`).ReplaceAllString(out.String(), " ")
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(?:default (\S+) )?\((KAPI_[A-Z_]+)\)`).FindAllStringSubmatch(text, -1) {
		all[m[2]] = m[1]
	}
	if len(all) < 10 {
		t.Fatalf("only %d settings found in the help:\n%s", len(all), out.String())
	}
	delete(all, "KAPI_TEST_CLOCK") // of test builds
	delete(all, "KAPI_FAIL")
	return all
}

func TestExampleConfigurationListsEverySetting(t *testing.T) {
	all := settings(t)
	listed := map[string]bool{}
	explained := false
	for i, line := range strings.Split(read(t, "kapi.env"), "\n") {
		m := regexp.MustCompile(`^(# )?(KAPI_[A-Z_]+)=(.*)$`).FindStringSubmatch(line)
		if m == nil {
			if line != "" && !strings.HasPrefix(line, "# ") {
				t.Errorf("line %d is neither a comment nor a setting: %q", i+1, line)
			}
			explained = explained && line != "" || strings.HasPrefix(line, "# ")
			continue
		}
		name, value := m[2], m[3]
		def, known := all[name]
		if base, isFile := strings.CutSuffix(name, "_FILE"); isFile && !known {
			name = base
			_, known = all[name]
		}
		switch {
		case !known:
			t.Errorf("line %d: %s is no setting", i+1, name)
		case listed[name]:
			t.Errorf("line %d: %s stands there twice", i+1, name)
		case !explained:
			t.Errorf("line %d: %s has no comment above", i+1, name)
		case m[1] != "" && def != "" && value != def:
			t.Errorf("line %d: %s shows %q, its default is %q", i+1, name, value, def)
		}
		listed[name] = true
	}
	for name := range all {
		if !listed[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestSettingsNamedElsewhereExist(t *testing.T) {
	all := settings(t)
	for _, file := range []string{"kapi.service", "compose.yaml", "Dockerfile", "alerts.yaml", "prometheus.yaml"} {
		seen := 0
		for _, name := range regexp.MustCompile(`KAPI_[A-Z]+(_[A-Z]+)*`).FindAllString(read(t, file), -1) {
			seen++
			_, direct := all[name]
			_, byFile := all[strings.TrimSuffix(name, "_FILE")]
			if !direct && !byFile {
				t.Errorf("%s: %s is no setting", file, name)
			}
		}
		if seen == 0 && file != "prometheus.yaml" {
			t.Errorf("%s names no setting", file)
		}
	}
}

// metrics are the names that the program registers.
func metrics(t *testing.T) []string {
	t.Helper()
	names := regexp.MustCompile(`"(kapi_[a-z_]+)"`).FindAllStringSubmatch(read(t, "../cmd/kapi/program/metrics.go"), -1)
	var out []string
	for _, n := range names {
		out = append(out, n[1])
	}
	if len(out) < 10 {
		t.Fatalf("only %d metrics found", len(out))
	}
	return out
}

var metricName = regexp.MustCompile(`\bkapi_[a-z_]+`)

func checkExpression(t *testing.T, where, expr string, known []string) {
	t.Helper()
	for _, name := range metricName.FindAllString(expr, -1) {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		if !slices.Contains(known, name) && !slices.Contains(known, base) {
			t.Errorf("%s: the program has no metric %s", where, name)
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: brackets do not match in %s", where, expr)
	}
}

func TestDashboardShowsMetricsThatExist(t *testing.T) {
	known := metrics(t)
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids, all := map[int]bool{}, ""
	for _, p := range board.Panels {
		if ids[p.ID] || (p.Type != "row" && len(p.Targets) == 0) {
			t.Errorf("panel %d %q: a second of this number, or nothing to show", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkExpression(t, p.Title, target.Expr, known)
			all += target.Expr + "\n"
		}
	}
	for _, name := range known {
		if !strings.Contains(all, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestAlertsWatchMetricsThatExist(t *testing.T) {
	known := metrics(t)
	text := read(t, "alerts.yaml")
	alerts := regexp.MustCompile(`(?s)- alert: (\w+)\n(.*?)\n        (?:for|labels):`).FindAllStringSubmatch(text, -1)
	if len(alerts) != strings.Count(text, "- alert:") || len(alerts) == 0 {
		t.Fatalf("%d alerts understood", len(alerts))
	}
	for _, a := range alerts {
		checkExpression(t, a[1], regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(a[2], ""), known)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(promtool, "check", "rules", "alerts.yaml").CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
		out, err := exec.Command(promtool, "test", "rules", "alerts_test.yaml").CombinedOutput()
		if err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
}

func TestUnitIsSoundAndConfined(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED, THE UNIT IS NOT CHECKED: no systemd-analyze found (Debian: apt-get install systemd)")
	}
	// verify wants the program to exist, so a copy of the unit names one that does.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(read(t, "kapi.service"), "/usr/bin/kapi", self)
	if !strings.Contains(unit, "ExecStart="+self+" serve") {
		t.Fatal("the unit does not start kapi serve")
	}
	path := filepath.Join(t.TempDir(), "kapi.service")
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "kapi.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", path).CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for kapi\.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level >= 2.5 {
		t.Errorf("exposure %s, want less than 2.5\n%s", m[1], out)
	}
}

// The head of the unit makes what the unit and the example settings name, and the service, which is not root, can get at it.
func TestUnitFindsWhatItsHeadMakes(t *testing.T) {
	head, unit, ok := strings.Cut(read(t, "kapi.service"), "\n[Unit]\n")
	if !ok {
		t.Fatal("no head")
	}
	one := func(text, pattern string) string {
		t.Helper()
		m := regexp.MustCompile("(?m)" + pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("nothing like %s", pattern)
		}
		return m[1]
	}
	mode := one(head, `install -d -m (\d+) /etc/kapi\b`)
	if asked := one(unit, `^ConfigurationDirectoryMode=0(\d+)$`); mode != asked || mode[2] < '5' {
		t.Errorf("the head makes /etc/kapi with mode %s, the unit wants %s; the service has to read its settings there", mode, asked)
	}
	if made, read := one(head, `cp kapi\.env (\S+)`), one(unit, `^ExecStart=.* --config (\S+)$`); made != read {
		t.Errorf("the settings are copied to %s and read from %s", made, read)
	}
	env := read(t, "kapi.env")
	for name, made := range map[string]string{
		"secret":   one(head, `kapi secret new (\S+)`),
		"database": one(head, `umask 077; echo \S+ > ([^\s)]+)`),
	} {
		variable := "KAPI_" + strings.ToUpper(name) + "_FILE"
		if given := one(unit, `^LoadCredential=`+name+`:(\S+)$`); given != made || one(env, `^`+variable+`=(\S+)$`) != made {
			t.Errorf("%s is made at %s, copied from %s, and kapi.env names another", name, made, given)
		}
		if !strings.Contains(unit, "\nEnvironment="+variable+"=%d/"+name+"\n") {
			t.Errorf("the service does not get the copy of %s", name)
		}
	}
}

func TestImageIsStaticAndUnprivileged(t *testing.T) {
	type line struct{ word, rest string }
	var stages [][]line
	text := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(read(t, "Dockerfile"), "")
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimSpace(l); l == "" || l[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(l, " ")
		if !slices.Contains(strings.Fields("FROM WORKDIR COPY RUN ARG ENV USER EXPOSE VOLUME STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"), word) {
			t.Errorf("no such instruction: %s", l)
		}
		if word == "FROM" {
			stages = append(stages, nil)
		}
		if len(stages) == 0 {
			t.Fatalf("%s stands before FROM", l)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], line{word, rest})
	}
	has := func(stage []line, word, part string) bool {
		return slices.ContainsFunc(stage, func(l line) bool { return l.word == word && strings.Contains(l.rest, part) })
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	build, final := stages[0], stages[1]
	if !has(build, "ENV", "CGO_ENABLED=0") || !has(build, "RUN", "./cmd/kapi") || !has(final, "FROM", "scratch") || !has(final, "COPY", "ca-certificates.crt") ||
		!has(final, "USER", "65532") || !has(final, "ENTRYPOINT", `["/usr/bin/kapi"]`) || has(final, "RUN", "") {
		t.Errorf("build %v\nfinal %v", build, final)
	}
	gomod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if gomod == nil || !has(build, "FROM", "golang:"+gomod[1]) {
		t.Errorf("the image builds with another Go than go.mod's %v", gomod)
	}
	variable := regexp.MustCompile(`-X github\.com/kapi-id/kapi/cmd/kapi/program\.(\w+)=`).FindStringSubmatch(text)
	if variable == nil || !strings.Contains(read(t, "../cmd/kapi/program/version.go"), "\nvar "+variable[1]+" ") {
		t.Errorf("the version is put into a variable that is not there: %v", variable)
	}
}

// The image has no shell, so what is run in it stands in lists of words; each of them must be a command that there is.
func TestCommandsOfTheImageExist(t *testing.T) {
	for file, want := range map[string]int{"Dockerfile": 2, "compose.yaml": 3} {
		lists := regexp.MustCompile(`(?m)^(?:CMD|HEALTHCHECK .*CMD| +command:| +test:) (\[[^\]\n]*\])`).FindAllStringSubmatch(read(t, file), -1)
		seen := 0
		for _, list := range lists {
			var words []string
			if err := json.Unmarshal([]byte(list[1]), &words); err != nil {
				t.Fatalf("%s: %s: %v", file, list[1], err)
			}
			if words[0] == "CMD" {
				words = words[1:]
			}
			if words[0] == "/usr/bin/kapi" {
				words = words[1:]
			} else if strings.Contains(list[0], "test:") {
				continue // of another image
			}
			seen++
			var out, errs bytes.Buffer
			if status := program.Main(append(words, "--help"), nil, &out, &errs); status != 0 {
				t.Errorf("%s: %v: %s", file, words, errs.String())
			}
		}
		if seen != want {
			t.Errorf("%s: %d commands, want %d", file, seen, want)
		}
	}
}

func TestComposeKeepsSecretsInFiles(t *testing.T) {
	text := read(t, "compose.yaml")
	before, secrets, ok := strings.Cut(text, "\nsecrets:\n")
	if !ok || strings.Contains(text, "\t") {
		t.Fatal("no list of secrets, or a tab")
	}
	var defined []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+): \{file: \./secrets/([a-z-]+)\}$`).FindAllStringSubmatch(secrets, -1) {
		if m[1] != m[2] {
			t.Errorf("secret %s is in file %s", m[1], m[2])
		}
		defined = append(defined, m[1])
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`/run/secrets/([a-z-]+)`).FindAllStringSubmatch(before, -1) {
		used[m[1]] = true
		if !slices.Contains(defined, m[1]) {
			t.Errorf("secret %s is not defined", m[1])
		}
	}
	for _, d := range defined {
		if !used[d] {
			t.Errorf("secret %s is not used", d)
		}
	}
	for line := range strings.SplitSeq(before, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if regexp.MustCompile(`(?i)password: |postgres://|smpp://`).MatchString(line) {
			t.Errorf("a secret in clear: %s", line)
		}
	}
}

// PgBouncer refuses a connection with a start parameter that it does not know: each that Kapi sends is ignored there and set by PgBouncer itself.
func TestPoolerSetsWhatItIgnores(t *testing.T) {
	source := read(t, "../storage/postgres.go")
	sent := regexp.MustCompile(`setDefault\(c\.RuntimeParams, "(\w+)", (?:"(\w+)")?`).FindAllStringSubmatch(source, -1)
	if len(sent) < 5 || strings.Count(source, "setDefault(c.RuntimeParams") != len(sent) {
		t.Fatalf("only %d parameters understood", len(sent))
	}
	text := read(t, "pgbouncer.ini")
	ignored := regexp.MustCompile(`(?m)^ignore_startup_parameters = (.*)$`).FindStringSubmatch(text)
	query := regexp.MustCompile(`(?m)^kapi = .* connect_query='([^']*)'$`).FindStringSubmatch(text)
	if ignored == nil || query == nil || !strings.Contains(text, "\npool_mode = transaction\n") {
		t.Fatal("no list of ignored parameters, no connect_query or another mode")
	}
	ignores := strings.Split(ignored[1], ", ")
	if !strings.Contains(read(t, "../storage/migrate.go"), `RuntimeParams, "lock_timeout"`) || !slices.Contains(ignores, "lock_timeout") {
		t.Error("lock_timeout, which the connection that reads the schema's version sends, is not ignored, or not sent any more")
	}
	count := 0
	for _, p := range sent {
		name, value := p[1], p[2]
		if name == "application_name" { // PgBouncer passes it on
			continue
		}
		count++
		if !slices.Contains(ignores, name) {
			t.Errorf("%s is not ignored", name)
		}
		if !regexp.MustCompile(`\bset ` + name + ` = ` + value).MatchString(query[1]) {
			t.Errorf("%s is not set to %s", name, value)
		}
	}
	if n := strings.Count(query[1], "set "); n != count {
		t.Errorf("%d are set, Kapi sends %d", n, count)
	}
}

func TestThirdPartyNamesEveryModule(t *testing.T) {
	text := read(t, "../THIRD_PARTY.md")
	direct, _, _ := strings.Cut(read(t, "../go.mod"), "// indirect")
	modules := regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllStringSubmatch(direct, -1)
	if len(modules) < 10 {
		t.Fatalf("only %d modules found", len(modules))
	}
	for _, m := range modules[:len(modules)-1] { // the last one is the first indirect one
		name := m[1]
		if last := name[strings.LastIndexByte(name, '/')+1:]; strings.HasPrefix(name, "golang.org/x/") {
			name = last
		} else if last == "gormlite" {
			name = "…/gormlite"
		}
		if !strings.Contains(text, name) {
			t.Errorf("THIRD_PARTY.md does not name %s", m[1])
		}
	}
}
