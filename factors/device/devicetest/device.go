// Package devicetest owns a registered device for tests: an app that holds a P-256 key and speaks the device API as
// docs/openapi/device.yaml says, written from that page and not from the code behind it. Enter with New and Register. It
// refuses nothing: every part of what it sends can be bent.
package devicetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// Base is the path of the API below the issuer.
const Base = "/factors/device/v1"

// Device is an app on a phone.
type Device struct {
	Issuer  string // the aud of everything
	URL     string // where the API is reached; "" = Issuer
	Handler http.Handler
	Client  *http.Client // nil = http.DefaultClient; not looked at with Handler
	Now     func() time.Time
	App     string // Kapi-App
	Name    string
	Push    any // a subscription to register with, nil = none

	Key *ecdsa.PrivateKey
	ID  string
	Ctr int64

	// Bend changes a request before it leaves; nil = as it is.
	Bend func(*http.Request)
	// Bodies, if set, sees every request and its answer, with both bodies.
	Bodies func(r *http.Request, body []byte, status int, header http.Header, answer []byte)

	mu sync.Mutex
}

// New makes a device with a fresh key.
func New(issuer string, now func() time.Time) *Device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Device{Issuer: issuer, Now: now, App: "web/1.0.0", Name: "Ayşe's phone", Key: key}
}

// Copy is the same device restored on a second phone: the same key, the same counter.
func (d *Device) Copy() *Device {
	return &Device{
		Issuer: d.Issuer, URL: d.URL, Handler: d.Handler, Client: d.Client, Now: d.Now, App: d.App, Name: d.Name, Key: d.Key, ID: d.ID, Ctr: d.Ctr, Bodies: d.Bodies,
	}
}

// Answer of the API.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is the type of the problem without its prefix; "" for a success.
func (a Answer) Problem() string {
	var p struct{ Type string }
	if a.Status < 400 || json.Unmarshal(a.Body, &p) != nil || len(p.Type) < len("urn:kapi:device:") {
		return ""
	}
	return p.Type[len("urn:kapi:device:"):]
}

// Request that waits.
type Request struct {
	ID        string `json:"id"`
	Challenge string `json:"challenge"`
	Number    bool   `json:"number"`
	Expires   int64  `json:"expires_at"`
}

// Shown is what the app shows of a request.
type Shown struct {
	Txn, Nonce, Action, Service, Origin, Place, Browser string
	Time, Exp                                           int64
}

// Show parses the challenge.
func (r Request) Show() (s Shown) {
	if err := json.Unmarshal([]byte(r.Challenge), &s); err != nil {
		panic(err)
	}
	return s
}

// Encode is base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// JWK is the public key.
func (d *Device) JWK() map[string]string {
	p, err := d.Key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "x": Encode(p[1:33]), "y": Encode(p[33:])}
}

// Sign makes a compact JWS, ES256.
func (d *Device) Sign(header, claims map[string]any) string { return Sign(d.Key, header, claims) }

// Sign makes a compact JWS, ES256, by key.
func Sign(key *ecdsa.PrivateKey, header, claims map[string]any) string {
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	input := Encode(h) + "." + Encode(c)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	var sig [64]byte
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + Encode(sig[:])
}

// Random is n bytes in base64url.
func Random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return Encode(b)
}

// Next is a fresh number of the counter.
func (d *Device) Next() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Ctr++
	return d.Ctr
}

// Proof makes Kapi-Device; with overrides its claims, nil takes one away.
func (d *Device) Proof(method, path string, body []byte, ctr int64, overrides map[string]any) string {
	sum := sha256.Sum256(body)
	claims := map[string]any{
		"iss": d.ID, "aud": d.Issuer, "htm": method, "htu": Base + path, "iat": d.Now().Unix(), "jti": Random(16), "bh": Encode(sum[:]),
	}
	if ctr != 0 {
		claims["ctr"] = ctr
	}
	for k, v := range overrides {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return d.Sign(map[string]any{"alg": "ES256", "typ": "kapi-device+jwt", "kid": d.ID}, claims)
}

// Statement signs a decision over a challenge; with overrides its claims, nil takes one away.
func (d *Device) Statement(challenge, decision, number, door string, ctr int64, overrides map[string]any) string {
	claims := map[string]any{
		"iss": d.ID, "aud": d.Issuer, "challenge": challenge, "decision": decision, "door": door, "ctr": ctr, "iat": d.Now().Unix(),
	}
	if number != "" {
		claims["number"] = number
	}
	for k, v := range overrides {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return d.Sign(map[string]any{"alg": "ES256", "typ": "kapi-approval+jwt", "kid": d.ID}, claims)
}

// Send sends a request with the given proof; "" = none. body is JSON, nil = none.
func (d *Device) Send(method, path string, body []byte, proof string) Answer {
	at := d.URL
	if at == "" {
		at = d.Issuer
	}
	r, err := http.NewRequestWithContext(context.Background(), method, at+Base+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Kapi-App", d.App)
	if proof != "" {
		r.Header.Set("Kapi-Device", proof)
	}
	if d.Bend != nil {
		d.Bend(r)
	}
	a := d.do(r)
	if d.Bodies != nil {
		d.Bodies(r, body, a.Status, a.Header, a.Body)
	}
	return a
}

func (d *Device) do(r *http.Request) Answer {
	if d.Handler != nil {
		w := httptest.NewRecorder()
		in := r.Clone(r.Context())
		in.URL.Path = r.URL.Path[len("/factors/device"):]
		d.Handler.ServeHTTP(w, in)
		return Answer{w.Code, w.Result().Header, w.Body.Bytes()}
	}
	c := d.Client
	if c == nil {
		c = http.DefaultClient
	}
	resp, err := c.Do(r)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(err)
	}
	return Answer{resp.StatusCode, resp.Header, b}
}

// call sends a proven request; what changes something counts.
func (d *Device) call(method, path string, in any, ctr int64) Answer {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			panic(err)
		}
	}
	return d.Send(method, path, body, d.Proof(method, path, body, ctr, nil))
}

// Register pairs.
func (d *Device) Register(pairing string) Answer {
	platform, version := "web", "1.0.0"
	for i := range d.App {
		if d.App[i] == '/' {
			platform, version = d.App[:i], d.App[i+1:]
		}
	}
	in := map[string]any{
		"pairing": pairing, "name": d.Name, "platform": platform, "app_version": version, "key": d.JWK(),
		"proof": d.Sign(map[string]any{"alg": "ES256", "typ": "kapi-register+jwt"}, map[string]any{"aud": d.Issuer, "pairing": pairing, "iat": d.Now().Unix()}),
	}
	if d.Push != nil {
		in["push"] = d.Push
	}
	body, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	a := d.Send(http.MethodPost, "/register", body, "")
	if a.Status == http.StatusCreated {
		var out struct{ ID string }
		if err := json.Unmarshal(a.Body, &out); err != nil {
			panic(err)
		}
		d.ID = out.ID
	}
	return a
}

// Me asks how it stands.
func (d *Device) Me() Answer { return d.call(http.MethodGet, "/me", nil, 0) }

// Leave stops being the registered device.
func (d *Device) Leave() Answer { return d.call(http.MethodDelete, "/me", nil, d.Next()) }

// SetPush says where pushes go.
func (d *Device) SetPush(s any) Answer { return d.call(http.MethodPut, "/push", s, d.Next()) }

// List is the Mobile Approval list.
func (d *Device) List() ([]Request, Answer) {
	a := d.call(http.MethodGet, "/requests", nil, 0)
	var out struct{ Requests []Request }
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &out); err != nil {
			panic(err)
		}
	}
	return out.Requests, a
}

// Scan takes the request behind a QR code.
func (d *Device) Scan(code string) (Request, Answer) {
	a := d.call(http.MethodPost, "/scan", map[string]string{"code": code}, d.Next())
	var r Request
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &r); err != nil {
			panic(err)
		}
	}
	return r, a
}

// Approve says yes; number is what the person typed, "" after a scan.
func (d *Device) Approve(r Request, number string) Answer {
	ctr, door := d.Next(), "list"
	if !r.Number {
		door = "qr"
	}
	return d.SendStatement(r.ID, "approve", map[string]any{"statement": d.Statement(r.Challenge, "approve", number, door, ctr, nil)}, ctr)
}

// Deny says no; reason is "cancel" or "not_me".
func (d *Device) Deny(r Request, reason string) Answer {
	ctr := d.Next()
	return d.SendStatement(r.ID, "deny", map[string]any{"reason": reason, "statement": d.Statement(r.Challenge, "deny", "", "list", ctr, nil)}, ctr)
}

// SendStatement sends what stands in body to approve or deny.
func (d *Device) SendStatement(id, what string, body map[string]any, ctr int64) Answer {
	return d.call(http.MethodPost, "/requests/"+id+"/"+what, body, ctr)
}

// Here signs as the browser that is the device does; the answer goes into the field code.
func (d *Device) Here(challenge string) string {
	ctr := d.Next()
	return d.Statement(challenge, "approve", "", "here", ctr, nil)
}
