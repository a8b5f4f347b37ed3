package phone

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Key of the key app.
type Key struct {
	Name   string
	Secret string // base32, as it is shown to be typed
}

const (
	keyPeriod = 30 // seconds
	mostApps  = 100
	mostKey   = 512
)

// Code is what a key app shows for a key at a moment: RFC 6238 with SHA-1, 30 seconds and 6 digits, which are the common ones. It is
// written anew here, since a phone is an outside party.
func Code(secret string, at time.Time) (string, error) {
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain(secret))
	if err != nil || len(seed) < 10 {
		return "", errors.New("phone: this is no key in base32")
	}
	h := hmac.New(sha1.New, seed)
	_ = binary.Write(h, binary.BigEndian, at.Unix()/keyPeriod)
	sum := h.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:])&0x7fffffff%1_000_000), nil // RFC 4226 §5.3
}

// plain is a key without what people and pages put between its letters.
func plain(secret string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "=", "", "\t", "", "\r", "", "\n", "").Replace(secret))
}

// AddKey puts a key into the key app; one of the same name is replaced. What is typed may be an otpauth: address too.
func (p *Phone) AddKey(name, secret string) error {
	if len(secret) > mostKey {
		return errors.New("phone: this is no key in base32")
	}
	if u, err := url.Parse(strings.TrimSpace(secret)); err == nil && u.Scheme == "otpauth" {
		if secret = u.Query().Get("secret"); name == "" {
			name = strings.TrimPrefix(u.Path, "/")
		}
	}
	if _, err := Code(secret, p.now()); err != nil {
		return err
	}
	if name = cut(strings.TrimSpace(name), mostField); name == "" {
		name = "Kapi"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = slices.DeleteFunc(p.apps, func(k Key) bool { return k.Name == name })
	if p.apps = append(p.apps, Key{name, plain(secret)}); len(p.apps) > mostApps {
		p.apps = p.apps[1:]
	}
	return nil
}

// shown is a key as the page and GET /keys show it.
type shown struct {
	Name string `json:"name"`
	Code string `json:"code"`
	Left int    `json:"left"` // seconds
	// Until is Left as the page says it: the list is read aloud when it changes, so nothing in it counts down.
	Until string `json:"-"`
}

func (p *Phone) shown() []shown {
	now := p.now()
	left := keyPeriod - int(now.Unix()%keyPeriod)
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []shown{}
	for _, k := range p.apps {
		if code, err := Code(k.Secret, now); err == nil {
			out = append(out, shown{k.Name, code, left, now.Add(time.Duration(left) * time.Second).UTC().Format("15:04:05")})
		}
	}
	return out
}

func (p *Phone) listKeys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, p.shown())
}

func (p *Phone) takeKey(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	if err := p.AddKey(r.PostFormValue("name"), r.PostFormValue("key")); err != nil {
		p.draw(w, r, "page", http.StatusBadRequest, true)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
