package program

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/sim/operator"
	"github.com/kapi-id/kapi/internal/sim/phone"
	"github.com/kapi-id/kapi/internal/sim/portal"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/provider/partner"
)

type demoCmd struct {
	Data       string `placeholder:"DIR" help:"Keep the data here; default is a fresh temporary folder."`
	ListenBase int    `placeholder:"PORT" default:"8080" help:"Provider on PORT, portal on PORT+1, phone on PORT+2, mobile operator on PORT+3."`
	Verbose    bool   `help:"Show the server's log."`
}

func (demoCmd) Help() string {
	return `Runs the provider, the SSI notification portal that signs people in with it, a phone that receives the codes, and the
mobile operator that knows of changed SIM cards. Ctrl-C stops all.

Example:
  kapi demo
  kapi demo --data ./demo --listen-base 9080`
}

//go:embed demo_people.json
var demoPeople []byte

// demoPictures holds the logo of the institution, which is an invention like the institution.
//
//go:embed demo_logo.png
var demoPictures embed.FS

// demoPerson is what the listing says of a person.
type demoPerson struct {
	NationalID string `json:"national_id"`
	GivenName  string `json:"given_name"`
	FamilyName string `json:"family_name"`
	Phone      string `json:"phone"`
	Password   string `json:"password"`
}

// demoSwapped is the person whose SIM card was changed.
const demoSwapped account.NationalID = "60000000646"

func (c demoCmd) Run(ctx context.Context, con *console) error {
	if c.ListenBase < 1 || c.ListenBase > 65532 {
		return fmt.Errorf("--listen-base %d: a port from 1 to 65532", c.ListenBase)
	}
	dir := c.Data
	if dir == "" {
		tmp, err := os.MkdirTemp("", "kapi-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	at := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.ListenBase+i)) }
	url := func(i int) string { return "http://localhost:" + strconv.Itoa(c.ListenBase+i) }
	level := "error"
	if c.Verbose {
		level = "info"
	}
	inbox, operatorSecret, eventToken := "inbox:http://"+at(2), secret.Token(), secret.Token()
	s, err := resolve(map[string]string{
		"ISSUER": url(0), "LISTEN": at(0), "DATABASE": "sqlite:" + filepath.Join(dir, "kapi.db"), "LOG_LEVEL": level,
		"SMS": inbox, "SIM_MESSAGE": inbox, "MESSENGER": inbox, "MAIL": inbox, "PUSH": inbox, "PUSH_HOSTS": "localhost,127.0.0.1",
	}, []string{"KAPI_SIM_SWAP=http://kapi:" + operatorSecret + "@" + at(3) + "/sim-swap/v2#token=http://" + at(3) + "/token", "KAPI_SIM_EVENTS=bearer:" + eventToken}, "")
	if err != nil {
		return err
	}
	a, err := New(ctx, s, Options{Log: logger(con.err, s.LogLevel)})
	if err != nil {
		return err
	}
	defer a.Close()
	shop, err := a.settle(ctx, portal.Config{Issuer: url(0), BaseURL: url(1), Now: a.now})
	if err != nil {
		return err
	}
	site, err := portal.New(shop)
	if err != nil {
		return err
	}
	handset := phone.New(phone.Config{Now: a.now})
	own, err := a.setUp(ctx, handset, filepath.Join(dir, "demo.json"))
	if err != nil {
		return err
	}
	mobile := operator.New(operator.Config{Client: "kapi", Secret: operatorSecret, Sink: "http://" + at(0) + partner.PathEvents, SinkToken: eventToken, Now: a.now})
	if err := a.swapped(ctx, mobile); err != nil {
		return err
	}
	go func() {
		if err := c.announce(ctx, con.out, url, own); err != nil {
			fmt.Fprintln(con.err, "kapi:", err)
		}
	}()
	return a.serve(ctx, 0, web.NewServer(at(1), site), web.NewServer(at(2), handset), web.NewServer(at(3), mobile))
}

// settle registers the portal with its desks, and the people. The second start on the same data changes nothing but secrets, and the
// date of the desk that waits for one.
func (a *App) settle(ctx context.Context, c portal.Config) (portal.Config, error) {
	var list []map[string]any
	register := func(id, tr, en string, policy map[string]any) portal.Registration {
		r := portal.Registration{ClientID: id, ClientSecret: secret.Token()}
		m := map[string]any{
			"client_id": r.ClientID, "client_secret": r.ClientSecret, "client_name": en, "client_name#tr": tr, "institution": "Social Security Institution", "kapi_logo": "demo_logo.png",
			"redirect_uris": []string{c.BaseURL + portal.CallbackPath}, "post_logout_redirect_uris": []string{c.BaseURL + portal.SignedOutPath}, "scope": "openid profile phone",
		}
		maps.Copy(m, policy)
		list = append(list, m)
		return r
	}
	own := register("ssi-portal", "SGK Bildirim Portalı", "SSI Notification Portal", nil)
	c.ClientID, c.ClientSecret = own.ClientID, own.ClientSecret
	next := fmt.Sprintf("%d-01-01", a.now().Year()+1)
	c.Desks = map[string]portal.Registration{
		portal.Strict: register("ssi-doctors", "SGK Hekim Masası", "SSI Doctors' Desk", map[string]any{"kapi_min_acr": "substantial", "kapi_refused_second": []string{"sms", "backup"}}),
		portal.Since:  register("ssi-e-vizite", "SGK e-Vizite", "SSI e-Vizite", map[string]any{"kapi_mfa_required_from": "2025-07-01"}),
		portal.From:   register("ssi-employers", "SGK İşveren Bildirgesi", "SSI Employers' Declaration", map[string]any{"kapi_mfa_required_from": next}),
		portal.Alone:  register("ssi-archive", "SGK Arşivi", "SSI Archive", map[string]any{"kapi_sso_isolated": true}),
	}
	b, err := json.Marshal(list)
	if err != nil {
		return c, err
	}
	if err := a.applyClients(ctx, bytes.NewReader(b), demoPictures, io.Discard); err != nil {
		return c, err
	}
	if err := a.clients.Refresh(ctx); err != nil {
		return c, err
	}
	return c, a.applyPeople(ctx, bytes.NewReader(demoPeople), a.password, io.Discard)
}

// swapped gives the person of the demo whose SIM card was changed a new one, shortly after two-factor authentication went on: once
// confirmed, a second start on the same data does not change it again.
func (a *App) swapped(ctx context.Context, o *operator.Operator) error {
	owner, err := a.db.AccountByNationalID(ctx, demoSwapped)
	if err != nil {
		return err
	}
	c, err := a.db.Contacts(ctx, owner.ID)
	if err != nil || c.Phone.Number == "" {
		return err
	}
	return o.Change(c.Phone.Number, owner.TwoFactorSince.Add(time.Second))
}

// reachable waits until something listens on the port.
func reachable(ctx context.Context, port int) error {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// announce prints where everything is once the provider answers.
func (c demoCmd) announce(ctx context.Context, out io.Writer, url func(int) string, own demoOwn) error {
	for i := range 4 {
		if err := reachable(ctx, c.ListenBase+i); err != nil {
			return err
		}
	}
	var people []demoPerson
	if err := json.Unmarshal(demoPeople, &people); err != nil {
		return err
	}
	fmt.Fprintf(out, `
  SSI notification portal   %s   begin here
  phone                     %s   codes, messages and e-mails arrive here; it has a key app too
  phone app                 %s/app   what people put on their phone: registered device, key app
  provider                  %s/me   a person's own pages
  mobile operator           %s   change a SIM card here, and make the operator fail

`, url(1), url(2), url(0), url(0), url(3))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "  ID NUMBER\tPASSWORD\tNAME\tPHONE\tTRY")
	for _, p := range people {
		fmt.Fprintf(w, "  %s\t%s\t%s %s\t%s\t%s\n", p.NationalID, p.Password, p.GivenName, p.FamilyName, cmp.Or(p.Phone, "–"), demoTries[p.NationalID])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(own.Codes) > 0 {
		fmt.Fprintf(out, "\n  Emine's backup codes, each good once: %s\n", strings.Join(own.Codes, "  "))
	}
	_, err := fmt.Fprint(out, "\nCtrl-C stops all.\n")
	return err
}
