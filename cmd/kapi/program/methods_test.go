package program_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	virtual "github.com/descope/virtualwebauthn"
	"github.com/fxamacker/cbor/v2"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testcert"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// standin is a first factor that is not built yet, as far as the acr/amr table knows it: whoever names a person is that person.
type standin struct {
	kit     factors.Kit
	name    string
	amr     string
	channel string
	level   acr.Level
	kinds   factors.Kind
}

func (s standin) Info() factors.Info {
	return factors.Info{Name: s.name, Stage: factors.First, Order: 90, Level: s.level}
}

func (standin) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}

func (s standin) Verify(_ context.Context, try factors.Try, _ factors.Answer) (factors.Proof, error) {
	if try.Account == "" {
		return factors.Proof{}, factors.ErrWrong
	}
	return factors.Proof{Factor: s.name, Account: try.Account, Stage: factors.First, Kinds: s.kinds, Channel: s.channel, Level: s.level,
		AMR: strings.Fields(s.amr), At: s.kit.Now()}, nil
}

func (s standin) Pages() fs.FS {
	words := `{"factor.NAME":{"tr":"Yöntem NAME","en":"Method NAME"},"NAME.heading":{"tr":"NAME","en":"NAME"},"NAME.number":{"tr":"Kimlik numarası","en":"ID number"}}`
	page := `{{define "heading"}}{{t "NAME.heading"}}{{end}}{{define "factor-page"}}{{template "input" (field . "national_id" "label" "NAME.number")}}{{end}}`
	return fstest.MapFS{"page.html": {Data: []byte(strings.ReplaceAll(page, "NAME", s.name))}, "words.json": {Data: []byte(strings.ReplaceAll(words, "NAME", s.name))}}
}

// standins are the first factors of the table beside the password.
func standins(kit func(string) factors.Kit) (all []factors.Factor) {
	for _, s := range []standin{
		{name: "banking", amr: "fed", channel: factors.Here, level: acr.Low, kinds: factors.Know},
		{name: "esign", amr: "sc hwk pin", channel: factors.Here, level: acr.High, kinds: factors.Have | factors.Know},
		{name: "idcard", amr: "sc hwk pin", channel: factors.Here, level: acr.High, kinds: factors.Have | factors.Know},
		{name: "mobilesign", amr: "hwk pin", channel: factors.Phone, level: acr.High, kinds: factors.Have | factors.Know},
	} {
		s.kit = kit(s.name)
		all = append(all, s)
	}
	return all
}

// appOf is a key app that has a seed.
func appOf(t *testing.T, seed string) func(time.Time) string {
	return func(at time.Time) string {
		code, err := totp.GenerateCode(seed, at)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
}

// holder is somebody of the table: one has each thing that another would stand in the way of.
type holder struct {
	number, phone string
	device        *devicetest.Device
	key           *usbKey
	app           func(time.Time) string
	backup        []string
}

const holderPassword = "the password of a holder 9"

// table is a Kapi in which every cell of the table can be tried.
type table struct {
	*testkapi.Kapi
	t                         *testing.T
	rp                        *testkapi.RP
	sim, messenger            *testkapi.Phone
	texts, withApp, withLines *holder // of SMS and keys; of a device; of the messenger
	bySIM                     *holder
	hard                      *holder // of a key whose maker is known
	read                      map[*testkapi.Phone]map[string]int
}

func setTable(t *testing.T, postgres bool) *table {
	t.Helper()
	root := issueMaker(t, "Root", nil, nil)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &table{t: t, sim: &testkapi.Phone{}, messenger: &testkapi.Phone{}, read: map[*testkapi.Phone]map[string]int{}}
	x.Kapi = testkapi.Start(t, testkapi.Options{
		Postgres: postgres, Host: "localhost", Factors: standins, Settings: map[string]string{"WEBAUTHN_ROOTS": roots},
		Channels: map[string][]notify.Route{"sim": {{Gateway: x.sim, Weight: 1}}, "messenger": {{Gateway: x.messenger, Weight: 1}}},
	})
	var file []string
	for i, to := range []struct {
		h     **holder
		lines string
	}{{&x.texts, ``}, {&x.withApp, ``}, {&x.withLines, `,"phone_operator":"turkcell","phone_lines":["messenger","sim"]`}, {&x.bySIM, `,"phone_operator":"vodafone","phone_lines":["sim"]`}, {&x.hard, ``}} {
		*to.h = &holder{number: number(i), phone: phoneOf(i)}
		file = append(file, strings.TrimSuffix(somebody(i, holderPassword), "}")+`,"locale":"en"`+to.lines+"}")
	}
	x.People("[" + strings.Join(file, ",") + "]")
	x.Clock.Add(time.Minute)
	x.rp = x.RP("ssi", nil)

	at := x.own(x.withApp, "device")
	x.withApp.device = at.Registered(x.Kapi, "The holder's phone")
	at = x.own(x.texts, "totp").Press("Set up a key")
	x.texts.app = appOf(t, strings.Join(printed(at), ""))
	at.Submit(map[string]string{"code": x.texts.app(x.Clock.Now())}).See("Your key is set up.")
	x.texts.backup = printed(x.own(x.texts, "backup").Press("Make"))
	x.texts.key, x.hard.key = newKey(x.Kapi), newKey(x.Kapi)
	x.add(x.texts, func(key *usbKey, options string) string {
		o, err := virtual.ParseAttestationOptions(options)
		if err != nil {
			t.Fatal(err)
		}
		key.Options.UserHandle = []byte(o.UserID)
		return virtual.CreateAttestationResponse(key.rp, key.Authenticator, key.Credential, *o)
	})
	x.add(x.hard, func(key *usbKey, options string) string {
		return vouched(t, key, options, issueMaker(t, "Leaf", root, key.Aaguid[:]))
	})
	return x
}

// own opens a page of a person's security settings after a strong sign-in and a code.
func (x *table) own(h *holder, page string) *testkapi.Browser {
	x.t.Helper()
	x.Clock.Add(16 * time.Minute)
	b := testkapi.NewBrowser(x.t).Open(x.URL + "/me/security/" + page)
	x.given(b, "esign", h)
	b.Submit(map[string]string{"code": x.code(x.Phone, h)})
	if b.URL.Path != "/me/security/"+page {
		x.t.Fatalf("at %s:\n%s", b.URL, b.Text())
	}
	return b
}

func (x *table) add(h *holder, answer func(key *usbKey, options string) string) {
	x.t.Helper()
	b := x.own(h, "webauthn").Press("Add a")
	b.Submit(map[string]string{"name": "Key", "credential": answer(h.key, optionsOf(x.t, b))}).See("The key was added.")
}

// given gives a first factor at a sign-in that has begun.
func (x *table) given(b *testkapi.Browser, first string, h *holder) {
	x.t.Helper()
	if first == "password" {
		b.Submit(map[string]string{"national_id": h.number, "password": holderPassword})
		return
	}
	b.Open("/signin/" + strings.Split(b.URL.Path, "/")[2] + "/with/" + first).Submit(map[string]string{"national_id": h.number})
}

// code waits for the next code to the holder's phone by one of its lines.
func (x *table) code(by *testkapi.Phone, h *holder) string {
	x.t.Helper()
	if x.read[by] == nil {
		x.read[by] = map[string]int{}
	}
	x.read[by][h.phone]++
	return by.Code(x.t, h.phone, x.read[by][h.phone])
}

// seconds are the columns of the table: whose they are, under which name the factor is offered, and how it is given.
var seconds = []struct {
	title, factor string
	of            func(x *table) *holder
	give          func(x *table, b *testkapi.Browser, h *holder)
}{
	{"push", "device", func(x *table) *holder { return x.withApp }, func(x *table, b *testkapi.Browser, h *holder) {
		eventually(x.t, "a push comes", func() bool { return len(pushesTo(x.Kapi, h.device)) > 0 })
		x.approved(b, h, h.device.Approve(x.waiting(h), b.Number()))
	}},
	{"QR", "device", func(x *table) *holder { return x.withApp }, func(x *table, b *testkapi.Browser, h *holder) {
		r, a := h.device.Scan(readQR(x.t, b, x.Kapi))
		if a.Status != http.StatusOK {
			x.t.Fatalf("scan: %d %s", a.Status, a.Body)
		}
		x.approved(b, h, h.device.Approve(r, ""))
	}},
	{"same device", "device", func(x *table) *holder { return x.withApp }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Post(b.URL.String(), url.Values{"code": {h.device.Here(x.waiting(h).Challenge)}})
	}},
	{"SMS", "sms", func(x *table) *holder { return x.texts }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"code": x.code(x.Phone, h)})
	}},
	{"SIM message", "sms", func(x *table) *holder { return x.bySIM }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"code": x.code(x.sim, h)})
	}},
	{"messenger", "messenger", func(x *table) *holder { return x.withLines }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"code": x.code(x.messenger, h)})
	}},
	{"backup code", "backup", func(x *table) *holder { return x.texts }, func(x *table, b *testkapi.Browser, h *holder) {
		code := h.backup[0]
		h.backup = h.backup[1:]
		b.Submit(map[string]string{"code": code})
	}},
	{"key app", "totp", func(x *table) *holder { return x.texts }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"code": h.app(x.Clock.Now())})
	}},
	{"key", "webauthn", func(x *table) *holder { return x.texts }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"credential": h.key.answer(x.t, b)})
	}},
	{"attested key", "webauthn", func(x *table) *holder { return x.hard }, func(x *table, b *testkapi.Browser, h *holder) {
		b.Submit(map[string]string{"credential": h.key.answer(x.t, b)})
	}},
}

// waiting is the only request that the device sees.
func (x *table) waiting(h *holder) devicetest.Request {
	x.t.Helper()
	list, a := h.device.List()
	if len(list) != 1 {
		x.t.Fatalf("%d requests wait (%d)", len(list), a.Status)
	}
	return list[0]
}

func (x *table) approved(b *testkapi.Browser, _ *holder, a devicetest.Answer) {
	x.t.Helper()
	if a.Status != http.StatusNoContent {
		x.t.Fatalf("approve: %d %s", a.Status, a.Body)
	}
	b.Press("I have approved")
}

// cells is the acr/amr table: the amr of each first factor with each of seconds; "–" is not offered.
var cells = []struct {
	first, acr, alone string
	amr               []string
}{
	{"password", substantial, "pwd", []string{"pwd swk user mca mfa", "pwd swk user mca mfa", "pwd swk mfa", "pwd sms mca mfa", "pwd sms mca mfa", "pwd oob mca mfa", "pwd backup mfa", "pwd otp mfa", "pwd swk user mfa", "pwd hwk user mfa"}},
	{"banking", substantial, "fed", []string{"fed swk user mca mfa", "fed swk user mca mfa", "–", "fed sms mca mfa", "fed sms mca mfa", "fed oob mca mfa", "fed backup mfa", "–", "fed swk user mfa", "fed hwk user mfa"}},
	{"esign", high, "sc hwk pin mfa", []string{"sc hwk pin swk user mca mfa", "sc hwk pin swk user mca mfa", "–", "sc hwk pin sms mca mfa", "sc hwk pin sms mca mfa", "sc hwk pin oob mca mfa", "sc hwk pin backup mfa", "–", "sc hwk pin swk user mfa", "sc hwk pin user mfa"}},
	{"idcard", high, "sc hwk pin mfa", []string{"sc hwk pin swk user mca mfa", "sc hwk pin swk user mca mfa", "–", "sc hwk pin sms mca mfa", "sc hwk pin sms mca mfa", "sc hwk pin oob mca mfa", "sc hwk pin backup mfa", "–", "sc hwk pin swk user mfa", "sc hwk pin user mfa"}},
	{"mobilesign", high, "hwk pin mca mfa", []string{"hwk pin swk user mca mfa", "hwk pin swk user mca mfa", "hwk pin swk mca mfa", "hwk pin sms mca mfa", "hwk pin sms mca mfa", "hwk pin oob mca mfa", "hwk pin backup mca mfa", "–", "hwk pin swk user mca mfa", "hwk pin user mca mfa"}},
}

const high = "urn:kapi:loa:high"

// Each first factor with each second one, through a relying party that runs: acr, amr and auth_steps of the ID token are those of the table,
// introspection says the same, userinfo is of the same person, and what is not in the table is not offered.
func TestP14_TheTableThroughARelyingParty(t *testing.T) {
	t.Parallel()
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[postgres], func(t *testing.T) {
			t.Parallel()
			x := setTable(t, postgres)
			for _, line := range cells {
				for i, amr := range line.amr {
					x.try(line.first, i, amr, line.acr)
				}
			}
			x.People(fmt.Sprintf(`[{"national_id":%q,"kind":"citizen","given_name":"Ece","family_name":"Tek","birthdate":"1980-01-01","password":%q,"two_factor":false}]`, number(50), holderPassword))
			for _, line := range cells {
				b := testkapi.NewBrowser(t).Open(x.rp.URL())
				x.given(b, line.first, &holder{number: number(50)})
				level := map[string]string{substantial: low, high: high}[line.acr]
				x.told(line.first+" alone", x.rp.Answer(b), level, line.alone, line.first)
			}
		})
	}
}

func (x *table) try(first string, i int, amr, level string) {
	x.t.Helper()
	s := seconds[i]
	name := first + ", " + s.title
	x.Clock.Add(16 * time.Minute) // the limits of sends and of pushes, and used steps of the key app, are other tests
	h := s.of(x)
	b := testkapi.NewBrowser(x.t).Open(x.rp.URL())
	x.given(b, first, h)
	page := x.URL + "/signin/" + strings.Split(b.URL.Path, "/")[2] + "/with/" + s.factor
	b.Open(page)
	offered := b.URL.Path == page[len(x.URL):]
	if offered != (amr != "–" || s.factor == "device") {
		x.t.Errorf("%s: offered %v, at %s", name, offered, b.URL)
	}
	if !offered {
		if r := send(x.t, b, http.MethodPost, page, url.Values{"code": {h.app(x.Clock.Now())}}); strings.Contains(r.Location, "callback") || b.Cookie("kapi-session") != "" {
			x.t.Errorf("%s: it was not offered and went through", name)
		}
		return
	}
	if amr == "–" { // the device approves, but the browser that holds its key does not by itself
		if strings.Contains(b.Body, `data-challenge="{`) || !strings.Contains(b.Body, `data-challenge=""`) {
			x.t.Errorf("%s: the page has something to sign by itself", name)
		}
		s.give(x, b, h)
		b.See("This browser is not your registered device.")
		if b.Left() != nil || b.Cookie("kapi-session") != "" {
			x.t.Errorf("%s: it was not offered and went through", name)
		}
		return
	}
	s.give(x, b, h)
	x.told(name, x.rp.Answer(b), level, amr, first, s.factor)
}

// told holds the ID token, introspection and userinfo against a cell.
func (x *table) told(name string, got testkapi.Tokens, level, amr string, steps ...string) {
	x.t.Helper()
	var names []string
	for _, s := range got.Claims.Steps {
		names = append(names, s.Method)
	}
	if got.Claims.ACR != level || strings.Join(got.Claims.AMR, " ") != amr || !slices.Equal(names, steps) || got.Claims.AuthTime != x.Clock.Now().Unix() {
		x.t.Errorf("%s: acr %s, amr %v, steps %v, auth_time %d at %d", name, got.Claims.ACR, got.Claims.AMR, names, got.Claims.AuthTime, x.Clock.Now().Unix())
	}
	r := send(x.t, nil, http.MethodGet, x.URL+"/userinfo", nil, "Authorization", "Bearer "+got.AccessToken)
	if info := jsonOf(x.t, r.Body); info["sub"] != got.Claims.Subject || info["given_name"] == nil {
		x.t.Errorf("%s: userinfo says %v of %s", name, info, got.Claims.Subject)
	}
	r = machinePost(x.t, x.Kapi, x.rp, "/oauth/introspect", url.Values{"token": {got.AccessToken}})
	if info := jsonOf(x.t, r.Body); info["acr"] != level || info["auth_time"] != float64(got.Claims.AuthTime) {
		x.t.Errorf("%s: introspection says %v", name, info)
	}
}

// keyMaker is a certificate of somebody who makes keys.
type keyMaker struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// issueMaker makes a root, or by one the certificate of a kind of keys (WebAuthn §8.2.1).
func issueMaker(t *testing.T, cn string, by *keyMaker, aaguid []byte) *keyMaker {
	t.Helper()
	c := &x509.Certificate{
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0), BasicConstraintsValid: true, IsCA: by == nil,
		Subject: pkix.Name{Country: []string{"TR"}, Organization: []string{"Anahtar A.Ş."}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: cn},
	}
	var signer *tls.Certificate
	if by == nil {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		signer = &tls.Certificate{Leaf: by.cert, PrivateKey: by.key}
		value, err := asn1.Marshal(aaguid)
		if err != nil {
			t.Fatal(err)
		}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: value}}
	}
	made := testcert.Issue(t, c, signer)
	return &keyMaker{key: made.PrivateKey.(*ecdsa.PrivateKey), cert: made.Leaf}
}

// vouched is the answer of a new key for which its maker vouches.
func vouched(t *testing.T, u *usbKey, options string, leaf *keyMaker) string {
	t.Helper()
	var o struct {
		PublicKey struct {
			Challenge string
			User      struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		t.Fatal(err)
	}
	handle, err := base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	u.Options.UserHandle = handle
	client := fmt.Appendf(nil, `{"type":"webauthn.create","challenge":%q,"origin":%q}`, o.PublicKey.Challenge, u.rp.Origin)
	rp, hash := sha256.Sum256([]byte(u.rp.ID)), sha256.Sum256(client)
	data := append(append(rp[:], 0x45, 0, 0, 0, 0), u.Aaguid[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(u.Credential.ID)))
	data = append(append(data, u.Credential.ID...), u.Key.AttestationData()...)
	digest := sha256.Sum256(append(slices.Clip(data), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, leaf.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	object, err := cbor.Marshal(map[string]any{"fmt": "packed", "authData": data, "attStmt": map[string]any{"alg": -7, "sig": sig, "x5c": [][]byte{leaf.cert.Raw}}})
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	out, err := json.Marshal(map[string]any{"id": b64(u.Credential.ID), "rawId": b64(u.Credential.ID), "type": "public-key",
		"response": map[string]any{"attestationObject": b64(object), "clientDataJSON": b64(client), "transports": []string{"usb"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
