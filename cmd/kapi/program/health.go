package program

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type healthCmd struct {
	Ready bool `help:"Ask /readyz, whether a sign-in can complete, instead of /healthz, whether the process lives."`
	configured
}

func (healthCmd) Help() string {
	return `For the health check of a container, which has no shell and no curl: reads the settings that the server has, asks at
KAPI_LISTEN, and ends with status 1 unless the answer is good.

Example:
  kapi health --ready`
}

// healthWait is the longest time that an answer may take, more than /readyz itself allows.
const healthWait = readyWait + 2*time.Second

func (c healthCmd) Run(ctx context.Context, con *console) error {
	s, err := c.settings(con)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	word, err := health(ctx, s, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(con.out, word)
	return err
}

// health returns the word that the server of these settings answers with.
func health(ctx context.Context, s Settings, path string) (string, error) {
	scheme := "http://"
	if s.TLSCert != "" {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+s.Listen+path, nil) // 0.0.0.0 and [::] lead to this machine
	if err != nil {
		return "", err
	}
	client := http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // without a proxy, whatever HTTP_PROXY says for gateways
			DisableKeepAlives: true,
			// The certificate is for the name that people know and not for this address. Nothing secret goes out, and who can listen here
			// in the server's place can do worse than to seem well.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	word := strings.TrimSpace(string(b))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %q", r.URL, resp.Status, word)
	}
	return word, nil
}
