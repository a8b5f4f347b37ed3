package program_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// RC2: whatever a request says of its host, links are those of the configuration; a link works once, the newest only, for a day, and by
// no GET.
func TestRC2_LinksOfRecovery(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		poison := []map[string]string{{"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example;proto=https"}, {"X-Forwarded-Proto": "https"}, {"X-Original-Url": "//evil.example/undo"}, {"Host": "evil.example"}}
		for i, headers := range poison {
			k.Clock.Add(time.Hour)
			k.People(recoverable(i+1, ""))
			b := testkapi.NewBrowser(t)
			for name, v := range headers {
				b.Header.Set(name, v)
			}
			renewing(b.Open(k.URL+"/recover"), i+1, nil)
			code := k.Phone.Code(t, phoneOf(i+1), 1)
			b.Submit(map[string]string{"code": code})
			page := b.URL.String()
			if h := headers["Host"]; h != "" {
				r := request(t, b, http.MethodPost, page, url.Values{"new_password": {newPassword}}, h)
				if r.Status != 303 {
					t.Fatalf("%d", r.Status)
				}
			} else {
				b.Submit(map[string]string{"new_password": newPassword}).See("renewed")
			}
			mail := sent(t, k, fmt.Sprintf("deniz%d@example.org", i+1), "/undo?link=", 1)
			if link := undoLink.FindString(mail); !strings.HasPrefix(link, k.URL+"/undo?link=") || strings.Contains(mail, "evil") {
				t.Errorf("%v: %s", headers, mail)
			}
		}
		// "//evil" and an absolute request line lead nowhere else.
		if r := send(t, nil, http.MethodGet, k.URL+"//evil.example/recover", nil); strings.Contains(r.Location, "//evil") || strings.Contains(r.Body, "evil.example/recover\"") && r.Status == 200 {
			t.Errorf("%d %s", r.Status, r.Location)
		}

		b := testkapi.NewBrowser(t)
		link := undoLink.FindString(sent(t, k, "deniz5@example.org", "/undo?link=", 1))
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		token := url.Values{"link": {u.Query().Get("link")}}
		for range 5 { // scanners of mail
			if r := send(t, nil, http.MethodGet, link, nil); r.Status != 200 || !strings.Contains(r.Body, "Do you want to undo") {
				t.Fatalf("%d", r.Status)
			}
			send(t, nil, http.MethodHead, link, nil)
		}
		b.Open(k.URL + "/me").Submit(map[string]string{"national_id": number(5), "password": newPassword}).See("My account")
		if r := send(t, nil, http.MethodPost, k.URL+"/undo", token, "Sec-Fetch-Site", "cross-site"); r.Status != 403 {
			t.Errorf("from another site: %d", r.Status)
		}
		var won, over atomic.Int64
		race(20, func(int) {
			switch r := send(t, nil, http.MethodPost, k.URL+"/undo", token); r.Status {
			case 200:
				won.Add(1)
			case 410:
				over.Add(1)
			default:
				t.Errorf("%d", r.Status)
			}
		})
		if won.Load() != 1 || over.Load() != 19 {
			t.Errorf("%d undid, %d were too late", won.Load(), over.Load())
		}
		k.Clock.Add(11 * time.Minute) // the limit of the network is another thing
		if r := send(t, nil, http.MethodGet, link, nil); r.Status != 410 {
			t.Errorf("used: %d", r.Status)
		}
		b.Open(k.URL + "/me").DontSee("My account")
		b.Submit(map[string]string{"national_id": number(5), "password": newPassword}).See(wrongSignIn)

		// An older link is dead once there is a newer one, and each after 24 hours and a second.
		c := testkapi.NewBrowser(t)
		k.Clock.Add(time.Hour)
		renewing(c.Open(k.URL+"/recover"), 4, nil)
		c.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(4), 2)}).Submit(map[string]string{"new_password": newPassword + "!"}).See("renewed")
		older := undoLink.FindString(sent(t, k, "deniz4@example.org", "/undo?link=", 1))
		newer := undoLink.FindString(sent(t, k, "deniz4@example.org", "/undo?link=", 2))
		if r := send(t, nil, http.MethodGet, older, nil); r.Status != 410 {
			t.Errorf("the older link: %d", r.Status)
		}
		k.Clock.Add(24*time.Hour - time.Minute)
		if r := send(t, nil, http.MethodGet, newer, nil); r.Status != 200 {
			t.Errorf("the newer link: %d", r.Status)
		}
		k.Clock.Add(time.Minute + time.Second)
		if r := send(t, nil, http.MethodGet, newer, nil); r.Status != 410 {
			t.Errorf("after 24 hours and a second: %d", r.Status)
		}
	})
}

// request is send with a Host of its own.
func request(t testing.TB, b *testkapi.Browser, method, address string, form url.Values, host string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range b.Client.Jar.Cookies(r.URL) { // a jar would go by the Host
		r.AddCookie(c)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return reply{Status: resp.StatusCode, Location: resp.Header.Get("Location"), Header: resp.Header}
}
