package webauthn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
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
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	virtual "github.com/descope/virtualwebauthn"
	"github.com/fxamacker/cbor/v2"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/factors/webauthn"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/testcert"
)

var b64 = base64.RawURLEncoding

// said is the client data of a ceremony with further members.
func said(kind, challenge, origin, more string) []byte {
	if more != "" {
		more = "," + more
	}
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q%s}`, kind, challenge, origin, more)
}

func challengeOf(t *testing.T, options string) string {
	t.Helper()
	var o struct{ PublicKey struct{ Challenge string } }
	if err := json.Unmarshal([]byte(options), &o); err != nil || o.PublicKey.Challenge == "" {
		t.Fatalf("%v: %s", err, options)
	}
	return o.PublicKey.Challenge
}

// signed is an answer to a sign-in over client data of the test's own.
func signed(t *testing.T, k *token, client []byte) string {
	t.Helper()
	rp := sha256.Sum256([]byte(k.rp.ID))
	data := append(rp[:], 0x05, 0, 0, 0, 0) // touched, verified, no counter
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	sig, err := k.Key.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]any{"id": b64.EncodeToString(k.Credential.ID), "rawId": b64.EncodeToString(k.Credential.ID), "type": "public-key",
		"response": map[string]any{"authenticatorData": b64.EncodeToString(data), "clientDataJSON": b64.EncodeToString(client), "signature": b64.EncodeToString(sig)}})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func withType(t *testing.T, k *token, options, kind string) string {
	t.Helper()
	return signed(t, k, said(kind, challengeOf(t, options), k.rp.Origin, ""))
}

func clientData(t *testing.T, k *token, options, more string) string {
	t.Helper()
	return signed(t, k, said("webauthn.get", challengeOf(t, options), k.rp.Origin, more))
}

// The tests' own client data passes where nothing is wrong with it: what is refused is refused for what it says.
func TestTheTestsOwnAnswers(t *testing.T) {
	b, k := newBench(t), newToken()
	b.add(t, person, k, "")
	try := signin("b")
	if _, err := b.Verify(t.Context(), try, credential(withType(t, k, b.begin(t, try), "webauthn.get"))); err != nil {
		t.Error(err)
	}
	try = signin("c")
	if _, err := b.Verify(t.Context(), try, credential(clientData(t, k, b.begin(t, try), `"crossOrigin":false`))); err != nil {
		t.Error(err)
	}
}

// statement is an answer to a registration, put together by hand.
type statement struct {
	kind    string // of the client data
	more    string // further members
	format  string
	flags   byte
	public  []byte // COSE key; nil = the token's
	padding int    // bytes of a further member of the statement
	chain   []*maker
	aaguid  []byte // in the leaf; nil = the token's
}

func (s statement) answer(t *testing.T, k *token, options string) string {
	t.Helper()
	if s.kind == "" {
		s.kind = "webauthn.create"
	}
	if s.format == "" {
		s.format = "packed"
	}
	if s.flags == 0 {
		s.flags = 0x45 // touched, verified, holds a key
	}
	if s.public == nil {
		s.public = k.Key.AttestationData()
	}
	client := said(s.kind, challengeOf(t, options), k.rp.Origin, s.more)
	rp := sha256.Sum256([]byte(k.rp.ID))
	data := append(rp[:], s.flags, 0, 0, 0, 0)
	data = append(data, k.Aaguid[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.Credential.ID)))
	data = append(append(data, k.Credential.ID...), s.public...)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	st := map[string]any{}
	switch {
	case s.format == "none":
	case s.chain != nil:
		sig, err := ecdsa.SignASN1(rand.Reader, s.chain[0].key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		var x5c [][]byte
		for _, m := range s.chain {
			x5c = append(x5c, m.cert.Raw)
		}
		st = map[string]any{"alg": -7, "sig": sig, "x5c": x5c}
	default:
		sig, err := k.Key.Sign(digest[:])
		if err != nil {
			t.Fatal(err)
		}
		st = map[string]any{"alg": -7, "sig": sig}
	}
	if s.padding > 0 {
		st["more"] = make([]byte, s.padding)
	}
	return posted(t, k, client, map[string]any{"fmt": s.format, "attStmt": st, "authData": data})
}

// posted is what the page sends of a new key.
func posted(t *testing.T, k *token, client []byte, attestation map[string]any) string {
	t.Helper()
	object, err := cbor.Marshal(attestation)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]any{"id": b64.EncodeToString(k.Credential.ID), "rawId": b64.EncodeToString(k.Credential.ID), "type": "public-key",
		"response": map[string]any{"attestationObject": b64.EncodeToString(object), "clientDataJSON": b64.EncodeToString(client), "transports": []string{"usb"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// maker is a certificate of a maker of keys with its key.
type maker struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// issue makes a certificate; by nil = a root. Leaves are as §8.2.1 wants them.
func issue(t *testing.T, cn string, by *maker, aaguid []byte, from, until time.Time) *maker {
	t.Helper()
	template := &x509.Certificate{
		NotBefore: from, NotAfter: until, BasicConstraintsValid: true, IsCA: aaguid == nil,
		Subject: pkix.Name{Country: []string{"TR"}, Organization: []string{"Anahtar A.Ş."}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: cn},
	}
	if template.IsCA {
		template.KeyUsage = x509.KeyUsageCertSign
	} else {
		value, err := asn1.Marshal(aaguid)
		if err != nil {
			t.Fatal(err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: value}}
	}
	return made(t, template, by)
}

// made is what by signs; nil = itself.
func made(t *testing.T, template *x509.Certificate, by *maker) *maker {
	t.Helper()
	var signer *tls.Certificate
	if by != nil {
		signer = &tls.Certificate{Leaf: by.cert, PrivateKey: by.key}
	}
	c := testcert.Issue(t, template, signer)
	return &maker{c.PrivateKey.(*ecdsa.PrivateKey), c.Leaf}
}

func pool(t *testing.T, makers ...*maker) *x509.CertPool {
	t.Helper()
	var text []byte
	for _, m := range makers {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw})...)
	}
	p, err := webauthn.Roots(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hwk only where a maker's certificates lead to a root of ours and the key cannot leave its hardware.
func TestHardwareIsProvenOrNotSaid(t *testing.T) {
	from, until := factortest.Start.AddDate(-1, 0, 0), factortest.Start.AddDate(10, 0, 0)
	root, stranger := issue(t, "Root", nil, nil, from, until), issue(t, "Other root", nil, nil, from, until)
	between := issue(t, "Intermediate", root, nil, from, until)
	for _, tc := range []struct {
		name  string
		roots *x509.CertPool
		of    func(k *token) statement
		want  string
	}{
		{"a maker of ours", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", root, k.Aaguid[:], from, until)}}
		}, "hwk"},
		{"by an intermediate", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", between, k.Aaguid[:], from, until), between}}
		}, "hwk"},
		{"the intermediate is missing", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", between, k.Aaguid[:], from, until)}}
		}, "swk"},
		{"a maker of nobody", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", stranger, k.Aaguid[:], from, until)}}
		}, "swk"},
		{"a root sent along", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", stranger, k.Aaguid[:], from, until), stranger}}
		}, "swk"},
		{"expired", pool(t, root), func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", root, k.Aaguid[:], from, from.AddDate(0, 1, 0))}}
		}, "refused"},
		{"may be synced", pool(t, root), func(k *token) statement {
			return statement{flags: 0x4d, chain: []*maker{issue(t, "Leaf", root, k.Aaguid[:], from, until)}}
		}, "swk"},
		{"it vouches for itself", pool(t, root), func(*token) statement { return statement{} }, "swk"},
		{"nothing is said", pool(t, root), func(*token) statement { return statement{format: "none"} }, "swk"},
		{"nobody is trusted", nil, func(k *token) statement {
			return statement{chain: []*maker{issue(t, "Leaf", root, k.Aaguid[:], from, until)}}
		}, "swk"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, k := benchOn(factortest.NewKit(factortest.Start), tc.roots), newToken()
			try := enrolling(person, "s")
			options := b.adding(t, try)
			if asked := strings.Contains(options, `"attestation":"direct"`); asked != (tc.roots != nil) {
				t.Errorf("asked for its maker %v: %s", asked, options)
			}
			st := tc.of(k)
			_, err := b.act(t, try, "save", credential(st.answer(t, k, options)))
			if refused := err != nil; refused != (tc.want == "refused") {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			k.Options.BackupEligible = st.flags == 0x4d
			at := signin("b")
			p, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at))))
			if err != nil || p.AMR[0] != tc.want {
				t.Errorf("%v, %v", p.AMR, err)
			}
		})
	}
	if _, err := webauthn.Roots([]byte("no certificate")); err == nil {
		t.Error("an empty list of roots was taken")
	}
}

// S6: one thing wrong with the answer to a registration.
func TestS6_NewKeys(t *testing.T) {
	type scene struct {
		*bench
		key     *token
		try     factors.Try
		options string
	}
	for _, tc := range []struct {
		name   string
		answer func(s *scene) string
		want   string // key of the sentence; "" = stored
	}{
		{"as it should be", func(s *scene) string { return s.key.attest(t, s.options) }, ""},
		{"by hand", func(s *scene) string { return statement{}.answer(t, s.key, s.options) }, ""},
		{"saying nothing of its maker", func(s *scene) string { return statement{format: "none"}.answer(t, s.key, s.options) }, ""},
		{"wrong origin", func(s *scene) string {
			s.key.rp.Origin = "https://kapi.example.evil"
			return s.key.attest(t, s.options)
		}, "webauthn.refused"},
		{"sub-domain", func(s *scene) string { s.key.rp.Origin = "https://me.kapi.example"; return s.key.attest(t, s.options) }, "webauthn.refused"},
		{"other relying party", func(s *scene) string { s.key.rp.ID = "me.kapi.example"; return s.key.attest(t, s.options) }, "webauthn.refused"},
		{"nobody touched the key", func(s *scene) string { s.key.Options.UserNotPresent = true; return s.key.attest(t, s.options) }, "webauthn.refused"},
		{"no PIN", func(s *scene) string { s.key.Options.UserNotVerified = true; return s.key.attest(t, s.options) }, ""},
		{"type of a sign-in", func(s *scene) string { return statement{kind: "webauthn.get"}.answer(t, s.key, s.options) }, "webauthn.refused"},
		{"in a frame", func(s *scene) string { return statement{more: `"crossOrigin":true`}.answer(t, s.key, s.options) }, "webauthn.refused"},
		{"in a frame, only the top origin said", func(s *scene) string {
			return statement{more: `"topOrigin":"https://evil.example"`}.answer(t, s.key, s.options)
		}, "webauthn.refused"},
		{"a broken statement", func(s *scene) string {
			return statement{chain: []*maker{{key: newKey(t), cert: issue(t, "x", nil, nil, factortest.Start, factortest.Start.AddDate(1, 0, 0)).cert}}}.answer(t, s.key, s.options)
		}, "webauthn.refused"},
		{"an algorithm not offered", func(s *scene) string {
			var public map[int]any
			if err := cbor.Unmarshal(s.key.Key.AttestationData(), &public); err != nil {
				t.Fatal(err)
			}
			public[3] = -47 // ES256K
			b, err := cbor.Marshal(public)
			if err != nil {
				t.Fatal(err)
			}
			return statement{format: "none", public: b}.answer(t, s.key, s.options)
		}, "webauthn.refused"},
		{"synced though it may not be", func(s *scene) string { return statement{flags: 0x55}.answer(t, s.key, s.options) }, "webauthn.refused"},
		{"a huge statement", func(s *scene) string { return statement{padding: webauthn.MaxAnswer}.answer(t, s.key, s.options) }, "webauthn.unreadable"},
		{"challenge of another session", func(s *scene) string { return s.key.attest(t, s.adding(t, enrolling(person, "t"))) }, "webauthn.refused"},
		{"challenge of a sign-in", func(s *scene) string {
			s.add(t, person, newToken(), "")
			o := s.begin(t, signin("b"))
			s.options = s.adding(t, s.try)
			return statement{}.answer(t, s.key, o)
		}, "webauthn.refused"},
		{"old challenge", func(s *scene) string { s.kit.Clock.Advance(webauthn.Life); return s.key.attest(t, s.options) }, "webauthn.expired"},
		{"nothing begun", func(s *scene) string {
			if _, err := s.act(t, s.try, "cancel", nil); err != nil {
				t.Fatal(err)
			}
			s.try.Binding = "enrol:fresh"
			return s.key.attest(t, s.options)
		}, "webauthn.expired"},
		{"registered by its owner", func(s *scene) string {
			s.key.attest(t, s.options)
			if _, err := s.act(t, s.try, "save", credential(s.key.attest(t, s.options))); err != nil {
				t.Fatal(err)
			}
			return s.key.attest(t, s.adding(t, s.try))
		}, "webauthn.taken"},
		{"registered by somebody else", func(s *scene) string { s.add(t, other, s.key, ""); return s.key.attest(t, s.options) }, "webauthn.taken"},
		{"the id of somebody else's key", func(s *scene) string {
			k := newToken()
			s.add(t, other, k, "")
			s.key.Credential.ID = k.Credential.ID
			return s.key.attest(t, s.options)
		}, "webauthn.taken"},
		{"answer to a sign-in", func(s *scene) string { return s.key.assert(t, s.options) }, "webauthn.unreadable"},
		{"nothing", func(*scene) string { return "" }, "webauthn.script"},
		{"no JSON", func(*scene) string { return "{" }, "webauthn.unreadable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &scene{bench: newBench(t), key: newToken(), try: enrolling(person, "s")}
			s.options = s.adding(t, s.try)
			answer := credential(tc.answer(s))
			before, _ := s.kit.Credentials.Of(t.Context(), person)
			_, err := s.act(t, s.try, "save", answer)
			after, _ := s.kit.Credentials.Of(t.Context(), person)
			switch {
			case tc.want == "" && (err != nil || len(after) != len(before)+1):
				t.Errorf("%v; %d keys, then %d", err, len(before), len(after))
			case tc.want != "" && (fault.Of(err) == nil || fault.Of(err).Key != tc.want || len(after) != len(before)):
				t.Errorf("%v, want %s; %d keys, then %d", err, tc.want, len(before), len(after))
			}
		})
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The form sent twice, and one key offered by two people at the same moment.
func TestAKeyIsStoredOnce(t *testing.T) {
	b, k := newBench(t), newToken()
	try := enrolling(person, "s")
	answer := credential(k.attest(t, b.adding(t, try)))
	for range 2 {
		if _, err := b.act(t, try, "save", answer); err != nil {
			t.Fatal(err)
		}
	}
	if rows, _ := b.kit.Credentials.Of(t.Context(), person); len(rows) != 1 {
		t.Errorf("%d keys", len(rows))
	}
	shared := newToken()
	one, two := enrolling(person, "t"), enrolling(other, "t")
	answers := []factors.Answer{credential(shared.attest(t, b.adding(t, one))), credential(shared.attest(t, b.adding(t, two)))}
	var results []factors.Result
	for i, try := range []factors.Try{one, two} { // both are judged before either is stored
		r, err := b.Act(t.Context(), try, "save", answers[i])
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, r := range results {
		wg.Go(func() { errs[i] = r.Commit(t.Context()) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || fault.Of(errors.Join(errs...)).Key != "webauthn.taken" {
		t.Errorf("%v", errs)
	}
}

func TestTheListOfKeysIsBounded(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		b.add(t, person, newToken(), "")
		if v := b.view(t, enrolling(person, "s")); v.Full != (i == 19) {
			t.Errorf("full with %d keys: %v", i+1, v.Full)
		}
	}
	seen := map[string]bool{}
	for _, k := range b.view(t, enrolling(person, "s")).Keys {
		if seen[k.Name] {
			t.Errorf("two keys are called %q", k.Name)
		}
		seen[k.Name] = true
	}
	if _, err := b.act(t, enrolling(person, "s"), "add", nil); fault.Of(err).Key != "webauthn.full" {
		t.Errorf("one more: %v", err)
	}
}

// Keys that a person has are not offered to be added once more.
func TestKnownKeysAreExcluded(t *testing.T) {
	b, k := newBench(t), newToken()
	b.add(t, person, k, "")
	o, err := virtual.ParseAttestationOptions(b.adding(t, enrolling(person, "s")))
	if err != nil || !k.IsExcludedForAttestation(*o) {
		t.Errorf("%+v, %v", o, err)
	}
	if o.RelyingPartyID != "kapi.example" || o.UserDisplayName != "Ayşe Yılmaz" {
		t.Errorf("%+v", o)
	}
}

// What strangers send: an answer is refused, never a panic and never a defect of ours.
func FuzzVerify(f *testing.F) {
	k := newToken()
	t := &testing.T{}
	f.Add(signed(t, k, said("webauthn.get", "AAAA", k.rp.Origin, "")))
	f.Add(`{"id":"AA","rawId":"AA","type":"public-key","response":{"authenticatorData":"AA","clientDataJSON":"e30","signature":""}}`)
	f.Add(`{"id":"","rawId":null}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, answer string) {
		b := newBench(t)
		b.add(t, person, newToken(), "")
		try := signin("b")
		b.begin(t, try)
		if _, err := b.Verify(t.Context(), try, credential(answer)); err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("%q: %v", answer, err)
		}
	})
}

func FuzzSave(f *testing.F) {
	k := newToken()
	options := `{"publicKey":{"challenge":"AAAA","user":{"id":"AAAA"}}}`
	f.Add(statement{}.answer(&testing.T{}, k, options))
	f.Add(statement{format: "none"}.answer(&testing.T{}, k, options))
	f.Add(`{"id":"AA","rawId":"AA","type":"public-key","response":{"attestationObject":"oA","clientDataJSON":"e30"}}`)
	f.Fuzz(func(t *testing.T, answer string) {
		b := newBench(t)
		try := enrolling(person, "s")
		b.adding(t, try)
		if r, err := b.Act(t.Context(), try, "save", credential(answer)); err == nil && r.Commit != nil || err != nil && fault.KindOf(err) == fault.Internal {
			t.Errorf("%q: %v", answer, err)
		}
	})
}
