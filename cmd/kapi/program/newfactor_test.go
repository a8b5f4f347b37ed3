package program_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// cell is a whole new factor: what somebody writes into a folder of its own. The person owns a printed card of codes and
// is asked for one cell of it; as a first factor the same with an ID number.
type cell struct {
	kit   factors.Kit
	info  factors.Info
	pages fs.FS
}

const cardPage = `{{define "heading"}}{{t "card.heading"}}{{end}}
{{define "factor-page"}}{{template "input" (field . "code" "label" "card.cell" "inputmode" "numeric")}}{{end}}`

const badgePage = `{{define "heading"}}{{t "badge.heading"}}{{end}}
{{define "factor-page"}}{{template "input" (field . "national_id" "label" "badge.person")}}{{template "input" (field . "code" "label" "badge.code")}}{{end}}`

// folder is what lies in the factor's folder. The words are Go because a test takes some away.
func folder(page, words string) fstest.MapFS {
	return fstest.MapFS{"page.html": {Data: []byte(page)}, "words.json": {Data: []byte(words)}}
}

const cardWords = `{
 "factor.card": {"tr": "Kod kartı", "en": "Code card"},
 "card.heading": {"tr": "Kartınızın B4 hücresini girin", "en": "Enter cell B4 of your card"},
 "card.cell": {"tr": "B4 hücresi", "en": "Cell B4"},
 "card.format": {"tr": "Hücrede 4 rakam vardır. Kartınıza bakın.", "en": "A cell has 4 digits. Look at your card."}
}`

const badgeWords = `{
 "factor.badge": {"tr": "Personel kartı", "en": "Staff badge"},
 "badge.heading": {"tr": "Kartınızla girin", "en": "Enter with your badge"},
 "badge.person": {"tr": "Kimlik numarası", "en": "ID number"},
 "badge.code": {"tr": "Karttaki kod", "en": "Code on the badge"}
}`

var slow = factors.Tries{Free: 3, First: 10 * time.Minute, Most: 10 * time.Minute, Disable: 4}

func newCard(kit func(string) factors.Kit) *cell {
	return &cell{kit: kit("card"), info: factors.Info{Name: "card", Stage: factors.Second, Order: 50, Tries: slow}, pages: folder(cardPage, cardWords)}
}

func newBadge(kit func(string) factors.Kit) *cell {
	return &cell{kit: kit("badge"), info: factors.Info{Name: "badge", Stage: factors.First, Order: 90, Tries: slow}, pages: folder(badgePage, badgeWords)}
}

func (c *cell) Info() factors.Info { return c.info }
func (c *cell) Pages() fs.FS       { return c.pages }

func (c *cell) Available(ctx context.Context, id account.ID) (bool, error) {
	found, err := c.kit.Credentials.Of(ctx, id)
	return len(found) > 0, err
}

func (c *cell) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}

func (c *cell) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	if c.info.Stage == factors.Second && len(answer.Get("code")) != 4 {
		return factors.Proof{}, fault.New(fault.Invalid, "card.format").In("code")
	}
	found, err := c.kit.Credentials.Of(ctx, try.Account)
	if err != nil {
		return factors.Proof{}, err
	}
	if len(found) == 0 || answer.Get("code") != string(found[0].Data) {
		return factors.Proof{}, factors.ErrWrong
	}
	return factors.Proof{Factor: c.info.Name, Account: try.Account, Stage: c.info.Stage, Kinds: factors.Have, Channel: factors.Here, Level: acr.Low,
		AMR: []string{"otp"}, At: c.kit.Now()}, nil
}

// give hands the person of an ID number a card or badge with this code.
func (c *cell) give(t *testing.T, k *testkapi.Kapi, number, code string) {
	t.Helper()
	n, err := account.ParseNationalID(number)
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.App().Flow.Accounts.AccountByNationalID(t.Context(), n)
	if err == nil {
		_, err = c.kit.Credentials.Create(t.Context(), factors.Credential{Account: a.ID, State: "active", Data: []byte(code), CreatedAt: k.Clock.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
}

const cardCode, wrongCode = "4711", "0000"

// withNewFactors runs a test in a Kapi whose list of factors has two lines more. Ayşe and Hasan have a card, Mehmet a badge.
func withNewFactors(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	var card, badge *cell
	lines := func(kit func(string) factors.Kit) []factors.Factor {
		card, badge = newCard(kit), newBadge(kit)
		return []factors.Factor{card, badge}
	}
	testkapi.Each(t, testkapi.Options{Factors: lines}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		card.give(t, k, ayse, cardCode)
		card.give(t, k, hasan, cardCode)
		badge.give(t, k, mehmet, cardCode)
		test(t, k)
	})
}

// answers is what the metrics say of a factor's answers.
func answers(t *testing.T, k *testkapi.Kapi, factor, client, outcome string) string {
	t.Helper()
	w := httptest.NewRecorder()
	k.App().Metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	line := fmt.Sprintf("kapi_factor_answers_total{client=%q,factor=%q,outcome=%q} ", client, factor, outcome)
	for l := range strings.SplitSeq(w.Body.String(), "\n") {
		if n, ok := strings.CutPrefix(l, line); ok {
			return n
		}
	}
	return "0"
}

// atTheCard brings a new browser to the card's page, past the password.
func atTheCard(t *testing.T, rp *testkapi.RP, number, password string, params ...string) *testkapi.Browser {
	t.Helper()
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL(params...)).Submit(map[string]string{"national_id": number, "password": password})
	if strings.HasSuffix(b.URL.Path, "/choose") {
		b.Press("Code card")
	}
	return b.See("Enter cell B4 of your card")
}

func TestANewSecondFactorIsOneFolderAndOneLine(t *testing.T) {
	withNewFactors(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See("How shall we check that it is you?", "Security code by SMS", "Code card")
		b.Press("Code card")
		b.See("Enter cell B4 of your card", "The ssi service", "Security code by SMS")
		b.Submit(map[string]string{"code": "1"}).See("A cell has 4 digits.")
		b.Submit(map[string]string{"code": wrongCode}).See("The code is wrong.")
		b.Header.Set("Accept-Language", "tr")
		b.Open(b.URL.String()).See("Kartınızın B4 hücresini girin", "SMS ile güvenlik kodu")
		b.Header.Set("Accept-Language", "en")
		b.Open(b.URL.String()).Submit(map[string]string{"code": cardCode})
		got := rp.Answer(b).Claims
		if got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "otp", "mfa"}) {
			t.Errorf("acr %s amr %v", got.ACR, got.AMR)
		}
		if len(got.Steps) != 2 || got.Steps[1].Method != "card" {
			t.Errorf("auth_steps %v", got.Steps)
		}
		if right, wrong := answers(t, k, "card", "ssi", "ok"), answers(t, k, "card", "ssi", "wrong"); right != "1" || wrong != "1" {
			t.Errorf("counted %s right and %s wrong answers", right, wrong)
		}
		// The record has it, and the person reads it by the factor's name.
		b.Open(k.URL+"/me/signins").See("Signed in", "Failed try", "Code card")
	})
}

// The factor does nothing for it: the host counts, locks, records and switches off.
func TestTheTriesOfANewFactorAreCountedByTheHost(t *testing.T) {
	withNewFactors(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		b := atTheCard(t, rp, ayse, aysePassword)
		for range slow.Free {
			b.Submit(map[string]string{"code": "1"}).See("A cell has 4 digits.") // nothing was compared: not counted
			b.Submit(map[string]string{"code": wrongCode}).See("The code is wrong.")
		}
		two := k.RP("two", nil)
		other := atTheCard(t, two, ayse, aysePassword)
		for _, b := range []*testkapi.Browser{b, other} { // a lock of the person, not of the browser
			b.Submit(map[string]string{"code": cardCode}).See("Too many wrong tries.", "or use another way", "Security code by SMS")
		}
		if one, more := answers(t, k, "card", "ssi", "locked"), answers(t, k, "card", "two", "locked"); one != "1" || more != "1" {
			t.Errorf("%s and %s answers were locked out", one, more)
		}
		k.Clock.Add(11 * time.Minute)
		b.Submit(map[string]string{"code": cardCode})
		rp.Answer(b)

		for i := range slow.Disable {
			if i >= slow.Free {
				k.Clock.Add(11 * time.Minute)
			}
			other = atTheCard(t, two, ayse, aysePassword)
			other.Submit(map[string]string{"code": wrongCode})
		}
		k.Clock.Add(time.Hour)
		other = atTheCard(t, two, ayse, aysePassword)
		other.Submit(map[string]string{"code": cardCode}).See("This way was switched off after too many wrong tries.")
		if n := answers(t, k, "card", "two", "disabled"); n != "1" {
			t.Errorf("%s answers met the factor switched off", n)
		}
		// The other way is open.
		other.Follow("Security code by SMS").See(secondStep)
		texts := len(k.Phone.Inbox(aysePhone))
		other.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, max(texts, 1))})
		two.Answer(other)
		other.Open(k.URL+"/me/signins").See("Too many wrong tries", "Code card")
	})
}

func TestAClientMayRefuseANewFactor(t *testing.T) {
	withNewFactors(t, func(t *testing.T, k *testkapi.Kapi) {
		strict := k.RP("strict", map[string]any{"kapi_refused_second": []string{"card"}})
		b := testkapi.NewBrowser(t)
		b.Open(strict.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See(secondStep).DontSee("Code card")
		sms := b.URL.String()
		card := strings.Replace(sms, "/with/sms", "/with/card", 1)
		b.Open(card).DontSee("Enter cell B4")
		if r := send(t, b, http.MethodPost, card, url.Values{"code": {cardCode}}); strings.Contains(r.Location, "callback") {
			t.Error("a proof that the client refuses let somebody through")
		}
		// Hasan has nothing else: he reads why, and the client gets the error.
		b = testkapi.NewBrowser(t)
		b.Open(strict.URL("claims", essential)).Submit(map[string]string{"national_id": hasan, "password": hasanPassword}).DontSee("Enter cell B4")
		b.Press("Back to the service")
		if code, _ := strict.Refused(b); code != "unmet_authentication_requirements" {
			t.Errorf("the client got %s", code)
		}
		open := k.RP("open", nil)
		b = atTheCard(t, open, hasan, hasanPassword, "claims", essential)
		b.Submit(map[string]string{"code": cardCode})
		if got := open.Answer(b).Claims; got.ACR != substantial {
			t.Errorf("acr %s", got.ACR)
		}
		misspelt := `[{"client_id":"x","client_secret":"a secret that is long enough for all of us","redirect_uris":["https://x.example/cb"],"kapi_refused_second":["kard"]}]`
		err := k.App().ApplyClients(t.Context(), strings.NewReader(misspelt), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "kapi_refused_second") || !strings.Contains(err.Error(), "card") {
			t.Errorf("a misspelt factor: %v", err)
		}
	})
}

func TestANewFirstFactorIsOneFolderAndOneLine(t *testing.T) {
	withNewFactors(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		only := k.RP("only", map[string]any{"kapi_allowed_first": []string{"badge"}})
		none := k.RP("none", map[string]any{"kapi_allowed_first": []string{"password"}})
		b := testkapi.NewBrowser(t)
		b.Open(none.URL()).See("Sign in").DontSee("Staff badge")
		b = testkapi.NewBrowser(t)
		b.Open(rp.URL()).Follow("Staff badge").See("Enter with your badge", "The ssi service")
		for _, number := range []string{mehmet, hasan, number(7)} { // wrong, without a badge, unknown: one sentence
			b.Submit(map[string]string{"national_id": number, "code": wrongCode}).See(wrongSignIn)
		}
		b.Submit(map[string]string{"national_id": mehmet, "code": cardCode})
		if got := rp.Answer(b).Claims; got.ACR != low || !slices.Equal(got.AMR, []string{"otp"}) || got.Steps[0].Method != "badge" {
			t.Errorf("%+v", got)
		}
		b = testkapi.NewBrowser(t)
		b.Open(only.URL()).See("Enter with your badge").DontSee("Password")
		for range slow.Free {
			b.Submit(map[string]string{"national_id": mehmet, "code": wrongCode}).See(wrongSignIn)
		}
		b.Submit(map[string]string{"national_id": mehmet, "code": cardCode}).See(wrongSignIn) // locked, and reads alike
		if n := answers(t, k, "badge", "only", "locked"); n != "1" {
			t.Errorf("%s answers were locked out", n)
		}
	})
}

// booklet is the card with what people do with it themselves: a factor that has the methods of an Enroller.
type booklet struct{ *cell }

const bookletPage = `{{define "heading"}}{{t "card.manage"}}{{end}}
{{define "factor-main"}}<form class="task" method="post" action="{{.Host.Path}}/take" novalidate>{{template "input" (field . "code" "label" "card.cell")}}{{template "submit" .}}</form>{{end}}`

const bookletWords = `{"card.manage": {"tr": "Kod kartınız", "en": "Your code card"}, "card.taken": {"tr": "Kart kaydedildi.", "en": "The card is registered."}, `

func (c booklet) Standing(ctx context.Context, id account.ID) (factors.Standing, error) {
	on, err := c.Available(ctx, id)
	return factors.Standing{On: on, Possible: true}, err
}

func (c booklet) Manage(context.Context, factors.Try) (factors.Page, error) {
	return factors.Page{}, nil
}

func (c booklet) Act(_ context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	if act != "take" {
		return factors.Result{}, fault.ErrNotFound
	}
	if len(answer.Get("code")) != 4 {
		return factors.Result{}, fault.New(fault.Invalid, "card.format").In("code")
	}
	return factors.Result{Done: "card.taken", Event: audit.FactorSetUp, Commit: func(ctx context.Context) error {
		_, err := c.kit.Credentials.Create(ctx, factors.Credential{Account: try.Account, State: "active", Data: []byte(answer.Get("code")), CreatedAt: c.kit.Now()})
		return err
	}}, nil
}

// The page of settings, its place in the overview, the fresh sign-in, the transaction and the record are the host's.
func TestTheSettingsOfANewFactorFollowFromTheContract(t *testing.T) {
	t.Parallel()
	lines := func(kit func(string) factors.Kit) []factors.Factor {
		c := newCard(kit)
		c.pages = fstest.MapFS{"page.html": {Data: []byte(cardPage)}, "manage.html": {Data: []byte(bookletPage)},
			"words.json": {Data: []byte(bookletWords + strings.TrimPrefix(cardWords, "{"))}}
		return []factors.Factor{booklet{c}}
	}
	testkapi.Each(t, testkapi.Options{Factors: lines}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		b := me(k, t, mehmet, mehmetPassword, "", 0)
		b.Open(k.URL+"/me/security").See("Security settings", "Code card", "Not set up")
		b.Follow("Code card").See("Your code card", "Cell B4")
		b.Submit(map[string]string{"code": "1"}).See("A cell has 4 digits.", "Your code card")
		b.Submit(map[string]string{"code": cardCode}).See("The card is registered.")
		b.Open(k.URL+"/me/security").See("Code card", "On")
		k.Clock.Add(16 * time.Minute)
		b.Open(k.URL+"/me/security/card").See("Sign in", "Password").DontSee("Your code card")
	})
}

// What is missing in a factor's folder is found before anybody can meet it.
func TestAnIncompleteFactorStopsTheStart(t *testing.T) {
	t.Parallel()
	without := func(words, line string) string {
		var kept []string
		for l := range strings.SplitSeq(words, "\n") {
			if !strings.Contains(l, line) {
				kept = append(kept, l)
			}
		}
		return strings.Join(kept, "\n")
	}
	for _, tc := range []struct {
		name   string
		change func(c *cell)
		err    string
	}{
		{"whole", func(*cell) {}, ""},
		{"no words", func(c *cell) { c.pages = fstest.MapFS{"page.html": {Data: []byte(cardPage)}} }, "words.json"},
		{"no page", func(c *cell) { c.pages = fstest.MapFS{"words.json": {Data: []byte(cardWords)}} }, "page.html"},
		{"no name for people", func(c *cell) { c.pages = folder(cardPage, without(cardWords, "factor.card")) }, "factor.card"},
		{"a sentence that its page shows", func(c *cell) { c.pages = folder(cardPage, without(cardWords, "card.cell")) }, "card.cell"},
		{"no Turkish", func(c *cell) {
			c.pages = folder(cardPage, strings.Replace(cardWords, `"tr": "B4 hücresi", `, "", 1))
		}, `"card.cell": no tr`},
		{"no English", func(c *cell) {
			c.pages = folder(cardPage, strings.Replace(cardWords, `, "en": "Cell B4"`, "", 1))
		}, `"card.cell": no en`},
		{"placeholders of one language", func(c *cell) {
			c.pages = folder(cardPage, strings.Replace(cardWords, "Cell B4", "Cell {n}", 1))
		}, "placeholders differ"},
		{"a sentence of somebody else", func(c *cell) {
			c.pages = folder(cardPage, strings.Replace(cardWords, "card.format", "code.format", 1))
		}, `"code.format" is given twice`},
		{"no heading", func(c *cell) {
			c.pages = folder(strings.Replace(cardPage, `define "heading"`, `define "title"`, 1), cardWords)
		}, `"heading"`},
		{"no part of its own", func(c *cell) {
			c.pages = folder(strings.Replace(cardPage, `define "factor-page"`, `define "mine"`, 1), cardWords)
		}, `"factor-page"`},
		{"a broken template", func(c *cell) { c.pages = folder(cardPage+"{{if}}", cardWords) }, "card/page"},
		{"a template that nobody has", func(c *cell) {
			c.pages = folder(strings.Replace(cardPage, `template "input"`, `template "inputt"`, 1), cardWords)
		}, "inputt"},
		{"an inline script", func(c *cell) {
			c.pages = folder(strings.Replace(cardPage, `{{template "input"`, `<script>var a = {{{.Data}}</script>{{template "input"`, 1), cardWords)
		}, "card/page"},
		{"a name that is no folder's", func(c *cell) { c.info.Name = "Card 1" }, "lower-case letters"},
		{"the name of another", func(c *cell) { c.info.Name = "sms" }, "twice"},
		{"no stage", func(c *cell) { c.info.Stage = 0 }, "stage"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := program.Resolve(map[string]string{"DATABASE": "sqlite:" + filepath.Join(t.TempDir(), "kapi.db")}, nil)
			if err != nil {
				t.Fatal(err)
			}
			app, err := program.New(t.Context(), s, program.Options{Factors: func(kit func(string) factors.Kit) []factors.Factor {
				c := newCard(kit)
				tc.change(c)
				return []factors.Factor{c}
			}})
			if err == nil {
				err = errors.Join(err, app.Close())
				if tc.err != "" {
					t.Fatalf("starts, want an error with %q", tc.err)
				}
			}
			if err != nil && (tc.err == "" || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%v, want an error with %q", err, tc.err)
			}
		})
	}
}
