package program_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// rounds of a race row: few in make test, many in make slow.
func rounds() int {
	if os.Getenv("KAPI_SLOW_TESTS") != "" {
		return 200
	}
	return 20
}

// reply is an answer as it came, without following it.
type reply struct {
	Status   int
	Location string
	Header   http.Header
	Body     string
}

// send makes one request with the browser's cookies, its own origin and further headers in pairs. It is safe in parallel.
func send(t testing.TB, b *testkapi.Browser, method, address string, form url.Values, headers ...string) reply {
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return reply{}
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Accept-Language", "en")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if b != nil {
		client.Jar = b.Client.Jar
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return reply{resp.StatusCode, resp.Header.Get("Location"), resp.Header, string(body)}
}

// race runs n functions that are released together.
func race(n int, run func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			run(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// number is a valid ID number, another one for each i below 10⁸.
func number(i int) string {
	n := fmt.Sprintf("%09d", 200_000_000+i)
	odd, even, sum := 0, 0, 0
	for j, c := range n {
		d := int(c - '0')
		sum += d
		if j%2 == 0 {
			odd += d
		} else {
			even += d
		}
	}
	ten := (7*odd - even + 100) % 10
	return fmt.Sprintf("%s%d%d", n, ten, (sum+ten)%10)
}

// somebody is a person of the people file with a proven phone.
func somebody(i int, password string) string {
	return fmt.Sprintf(`{"national_id":%q,"kind":"citizen","given_name":"Deniz","family_name":"Kara","birthdate":"1980-01-01","phone":%q,"phone_grade":"id_verified","password":%q,"two_factor":true}`,
		number(i), phoneOf(i), password)
}

func phoneOf(i int) string { return fmt.Sprintf("+90555%07d", 1000000+i) }

// machinePost sends a form as a client with HTTP basic authentication.
func machinePost(t testing.TB, k *testkapi.Kapi, rp *testkapi.RP, path string, form url.Values) reply {
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(rp.ID) + ":" + url.QueryEscape(rp.Secret)))
	return send(t, nil, http.MethodPost, k.URL+path, form, "Authorization", "Basic "+basic)
}

// member returns a string member of a JSON object.
func member(t testing.TB, body, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	s, _ := m[name].(string)
	if s == "" {
		t.Fatalf("no %s in %s", name, body)
	}
	return s
}

// resolve makes a Location absolute.
func resolve(k *testkapi.Kapi, location string) string {
	if strings.HasPrefix(location, "/") {
		return k.URL + location
	}
	return location
}

// userinfo returns the status of /userinfo for an access token.
func userinfo(t testing.TB, k *testkapi.Kapi, token string) int {
	t.Helper()
	return send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+token).Status
}
