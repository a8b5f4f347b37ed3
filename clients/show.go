package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"
)

// memberNames are the members of a file in the order of the contract.
var memberNames = func() (names []string) {
	t := reflect.TypeFor[document]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}()

// WriteList prints clients as a table, a line each, without secrets.
func WriteList(w io.Writer, cs []Client, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CLIENT\tNAME\tINSTITUTION\tPROVES ITSELF BY\tGRANTS\tSCOPES")
	for _, c := range cs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.DisplayName(""), c.Institution, proof(c, now),
			strings.Join(c.GrantTypes, " "), strings.Join(c.Scopes, " "))
	}
	return t.Flush()
}

// proof is the method, and how many secrets work at now where there is not exactly one.
func proof(c Client, now time.Time) string {
	alive := 0
	var until time.Time
	for _, s := range c.Secrets {
		if s.alive(now) {
			alive++
			if s.ExpiresAt.After(until) {
				until = s.ExpiresAt
			}
		}
	}
	if alive > 1 {
		return fmt.Sprintf("%s (%d secrets until %s)", c.AuthMethod, alive, until.UTC().Format(time.RFC3339))
	}
	return c.AuthMethod
}

// WriteShow prints one client as a file that apply takes, defaults filled in, without its secret.
func WriteShow(w io.Writer, c Client) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.Raw, &members); err != nil {
		return fmt.Errorf("client %q: stored registration: %w", c.ID, err)
	}
	var b bytes.Buffer
	b.WriteString("[{")
	comma := "\n"
	for _, name := range memberNames {
		value, ok := members[name]
		if !ok || name == "client_secret" {
			continue
		}
		fmt.Fprintf(&b, "%s  %q: %s", comma, name, compact(value))
		comma = ",\n"
	}
	b.WriteString("\n}]\n")
	_, err := b.WriteTo(w)
	return err
}
