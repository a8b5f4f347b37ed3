package program

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
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

// demoPerson is what the listing says of a person.
type demoPerson struct {
	NationalID string `json:"national_id"`
	GivenName  string `json:"given_name"`
	FamilyName string `json:"family_name"`
	Phone      string `json:"phone"`
	Password   string `json:"password"`
}

// demoStates says what each person is there to show, by ID number.
var demoStates = map[string]string{
	"10000000146": "two-factor authentication on",
	"20000000282": "phone proven with the ID card, two-factor off",
	"30000000328": "temporary password from an office",
	"40000000464": "no phone",
	"50000000500": "phone declared, not proven",
	"60000000646": "two-factor on, SIM card changed",
	"70000000782": "two-factor on, codes by BiP",
	"80000000828": "two-factor on, codes by SIM message",
	"99000000110": "foreigner, two-factor on",
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
		"SMS": inbox, "SIM_MESSAGE": inbox, "MESSENGER": inbox, "MAIL": inbox,
	}, []string{"KAPI_SIM_SWAP=http://kapi:" + operatorSecret + "@" + at(3) + "/sim-swap/v2#token=http://" + at(3) + "/token", "KAPI_SIM_EVENTS=bearer:" + eventToken}, "")
	if err != nil {
		return err
	}
	a, err := New(ctx, s, Options{Log: logger(con.err, s.LogLevel)})
	if err != nil {
		return err
	}
	defer a.Close()
	clientSecret := secret.Token()
	if err := a.settle(ctx, url(1), clientSecret); err != nil {
		return err
	}
	site, err := portal.New(portal.Config{Issuer: url(0), ClientID: "ssi-portal", ClientSecret: clientSecret, BaseURL: url(1), Now: a.now})
	if err != nil {
		return err
	}
	mobile := operator.New(operator.Config{Client: "kapi", Secret: operatorSecret, Sink: "http://" + at(0) + partner.PathEvents, SinkToken: eventToken, Now: a.now})
	if err := a.swapped(ctx, mobile); err != nil {
		return err
	}
	go func() {
		if err := c.announce(ctx, con.out, url); err != nil {
			fmt.Fprintln(con.err, "kapi:", err)
		}
	}()
	return a.serve(ctx, 0, web.NewServer(at(1), site), web.NewServer(at(2), phone.New(phone.Config{Now: a.now})), web.NewServer(at(3), mobile))
}

// settle registers the portal and the people. The second start on the same data changes nothing but the portal's secret.
func (a *App) settle(ctx context.Context, portalURL, clientSecret string) error {
	client := []map[string]any{{
		"client_id": "ssi-portal", "client_name": "SSI Notification Portal", "client_name#tr": "SGK Bildirim Portalı", "client_secret": clientSecret,
		"institution": "Social Security Institution", "redirect_uris": []string{portalURL + "/callback"},
		"post_logout_redirect_uris": []string{portalURL + "/"}, "scope": "openid profile phone",
	}}
	b, err := json.Marshal(client)
	if err != nil {
		return err
	}
	if err := a.applyClients(ctx, strings.NewReader(string(b)), io.Discard); err != nil {
		return err
	}
	if err := a.clients.Refresh(ctx); err != nil {
		return err
	}
	return a.applyPeople(ctx, strings.NewReader(string(demoPeople)), a.password, io.Discard)
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
func (c demoCmd) announce(ctx context.Context, out io.Writer, url func(int) string) error {
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
  phone                     %s   the codes arrive here
  provider                  %s/me   a person's own pages
  mobile operator           %s   change a SIM card here, and make the operator fail

`, url(1), url(2), url(0), url(3))
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "  ID NUMBER\tPASSWORD\tNAME\tPHONE\tSTATE")
	for _, p := range people {
		fmt.Fprintf(w, "  %s\t%s\t%s %s\t%s\t%s\n", p.NationalID, p.Password, p.GivenName, p.FamilyName, p.Phone, demoStates[p.NationalID])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, "\nCtrl-C stops all.\n")
	return err
}
