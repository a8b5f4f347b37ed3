package testkapi

import (
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/net/html"

	"github.com/kapi-id/kapi/factors/device/devicetest"
)

// contract is docs/openapi/device.yaml, which every exchange of every device of a test is held against.
var contract = sync.OnceValues(func() (*devicetest.Contract, error) {
	_, here, _, _ := runtime.Caller(0)
	return devicetest.LoadContract(filepath.Join(filepath.Dir(here), "../../docs/openapi/device.yaml"))
})

// Device is an app on a phone that speaks the device API of k and is not registered yet.
func (k *Kapi) Device(name string) *devicetest.Device {
	k.T.Helper()
	c, err := contract()
	if err != nil {
		k.T.Fatal(err)
	}
	d := devicetest.New(k.URL, k.now)
	d.Name, d.App = name, "android/1.0.0"
	d.Push = map[string]string{"kind": "fcm", "token": "token-of-" + devicetest.Random(9)}
	d.Bodies = func(r *http.Request, body []byte, status int, header http.Header, answer []byte) {
		if err := c.Check(r, body, status, header, answer); err != nil {
			k.T.Errorf("against docs/openapi/device.yaml: %v", err)
		}
	}
	return d
}

// Pairing reads a pairing code in a browser whose person has just signed in. It ends at the page that shows it.
func (b *Browser) Pairing(k *Kapi) string {
	b.T.Helper()
	b.Open(k.URL + "/me/security/device").See("Registered device")
	for _, words := range []string{"Register a device", "Register another device"} {
		if strings.Contains(b.Text(), words) {
			b.Press(words)
			break
		}
	}
	m := regexp.MustCompile(`data-pairing="([0-9A-Z]{26})"`).FindStringSubmatch(b.Body)
	if m == nil {
		b.T.Fatalf("%s (%d) shows no pairing code:\n%s", b.URL, b.Status, b.Text())
	}
	return m[1]
}

// Registered makes a device that of the person who has just signed in in b.
func (b *Browser) Registered(k *Kapi, name string) *devicetest.Device {
	b.T.Helper()
	d := k.Device(name)
	if a := d.Register(b.Pairing(k)); a.Status != http.StatusCreated {
		b.T.Fatalf("register: %d %s", a.Status, a.Body)
	}
	return d
}

// Number is what the page of a sign-in says to type on the registered device.
func (b *Browser) Number() string {
	b.T.Helper()
	m := regexp.MustCompile(`<strong class="number">([0-9]{2})</strong>`).FindStringSubmatch(b.Body)
	if m == nil {
		b.T.Fatalf("%s (%d) shows no number:\n%s", b.URL, b.Status, b.Text())
	}
	return m[1]
}

// Challenge is what the page of a sign-in gives to the script of the browser that is the device.
func (b *Browser) Challenge() string {
	b.T.Helper()
	n := b.find(func(n *html.Node) bool { return attribute(n, "data-challenge") != "" })
	if n == nil {
		b.T.Fatalf("%s (%d) carries no challenge:\n%s", b.URL, b.Status, b.Text())
	}
	return attribute(n, "data-challenge")
}

// Approve says yes on d to what the page of b waits for, with the number it shows.
func (b *Browser) Approve(d *devicetest.Device) devicetest.Answer {
	b.T.Helper()
	return d.Approve(b.Waiting(d), b.Number())
}

// Waiting is the request of b's page as d sees it.
func (b *Browser) Waiting(d *devicetest.Device) devicetest.Request {
	b.T.Helper()
	list, a := d.List()
	challenge := b.Challenge()
	for _, r := range list {
		if r.Challenge == challenge {
			return r
		}
	}
	b.T.Fatalf("not among the %d requests that the device sees (%d)", len(list), a.Status)
	return devicetest.Request{}
}
