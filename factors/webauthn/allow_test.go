package webauthn_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/factors/webauthn"
	"github.com/kapi-id/kapi/internal/fault"
)

// u2f is a key of the days of U2F, of a batch with one certificate.
func u2f(t *testing.T, root *maker, from, until time.Time) *maker {
	t.Helper()
	return made(t, &x509.Certificate{NotBefore: from, NotAfter: until, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "U2F 7"}}, root)
}

// batch is the key identifier of a certificate, the short way.
func batch(t *testing.T, m *maker) string {
	t.Helper()
	point, err := m.key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(point.Bytes())
	return hex.EncodeToString(sum[:])
}

// asU2F is an answer in the format fido-u2f (Web Authentication §8.6); model is the AAGUID that it names outside of what is signed.
func asU2F(t *testing.T, k *token, options string, by *maker, model [16]byte) string {
	t.Helper()
	client := said("webauthn.create", challengeOf(t, options), k.rp.Origin, "")
	rp, hash := sha256.Sum256([]byte(k.rp.ID)), sha256.Sum256(client)
	data := append(rp[:len(rp):len(rp)], 0x41, 0, 0, 0, 0)
	data = append(data, model[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.Credential.ID)))
	data = append(append(data, k.Credential.ID...), k.Key.AttestationData()...)
	var public struct {
		X []byte `cbor:"-2,keyasint"`
		Y []byte `cbor:"-3,keyasint"`
	}
	if err := cbor.Unmarshal(k.Key.AttestationData(), &public); err != nil {
		t.Fatal(err)
	}
	signed := append([]byte{0}, rp[:]...)
	signed = append(append(append(signed, hash[:]...), k.Credential.ID...), 4)
	digest := sha256.Sum256(append(append(signed, public.X...), public.Y...))
	sig, err := ecdsa.SignASN1(rand.Reader, by.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return posted(t, k, client, map[string]any{"fmt": "fido-u2f", "attStmt": map[string]any{"sig": sig, "x5c": [][]byte{by.cert.Raw}}, "authData": data})
}

// With a list only keys whose makers vouch for a model on it are registered; who says nothing, or only for itself, is refused.
func TestOnlyModelsOnTheList(t *testing.T) {
	from, until := factortest.Start.AddDate(-1, 0, 0), factortest.Start.AddDate(10, 0, 0)
	root, stranger := issue(t, "Root", nil, nil, from, until), issue(t, "Other root", nil, nil, from, until)
	old, older := u2f(t, root, from, until), u2f(t, stranger, from, until)
	fake := u2f(t, root, from, until)
	packed := func(by *maker, flags byte) func(*token, string) string {
		return func(k *token, options string) string {
			return statement{flags: flags, chain: []*maker{issue(t, "Leaf", by, k.Aaguid[:], from, until)}}.answer(t, k, options)
		}
	}
	const mine, another = "MINE", "f8a011f3-8c0a-4d15-8006-17111f9edc7d"
	for _, tc := range []struct {
		name   string
		list   string // MINE is the model of the key
		roots  *x509.CertPool
		answer func(k *token, options string) string
		want   string // sentence; "" = stored
		hwk    bool
	}{
		{"a model on the list", another + ", " + mine, pool(t, root), packed(root, 0), "", true},
		{"upper case, other separators", strings.ToUpper(another) + "\n\t" + mine, pool(t, root), packed(root, 0), "", true},
		{"another model", another, pool(t, root), packed(root, 0), "webauthn.not_allowed", false},
		{"a maker of nobody", mine, pool(t, root), packed(stranger, 0), "webauthn.not_allowed", false},
		{"no makers", mine, nil, packed(root, 0), "webauthn.not_allowed", false},
		{"it may be synced", mine, pool(t, root), packed(root, 0x4d), "", false},
		{"a certificate of another model", mine, pool(t, root), func(k *token, options string) string {
			model := uuid.MustParse(another)
			return statement{chain: []*maker{issue(t, "Leaf", root, model[:], from, until)}}.answer(t, k, options)
		}, "webauthn.refused", false},
		{"it vouches for itself", mine, pool(t, root), func(k *token, options string) string { return statement{}.answer(t, k, options) }, "webauthn.not_allowed", false},
		{"it says nothing", mine, pool(t, root), func(k *token, options string) string { return statement{format: "none"}.answer(t, k, options) }, "webauthn.not_allowed", false},
		{"U2F, its batch on the list", strings.ToUpper(batch(t, old)), pool(t, root), func(k *token, options string) string { return asU2F(t, k, options, old, [16]byte{}) }, "", true},
		{"U2F, another batch of the maker", batch(t, old), pool(t, root), func(k *token, options string) string { return asU2F(t, k, options, fake, [16]byte{}) }, "webauthn.not_allowed", false},
		{"U2F, on the list, a maker of nobody", batch(t, older), pool(t, root), func(k *token, options string) string { return asU2F(t, k, options, older, [16]byte{}) }, "webauthn.not_allowed", false},
		{"U2F, only models on the list", mine, pool(t, root), func(k *token, options string) string { return asU2F(t, k, options, old, [16]byte{}) }, "webauthn.not_allowed", false},
		{"U2F, without a list", "", pool(t, root), func(k *token, options string) string { return asU2F(t, k, options, old, [16]byte{}) }, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newToken()
			allow, err := webauthn.Allow(strings.ReplaceAll(tc.list, mine, uuid.UUID(k.Aaguid).String()))
			if err != nil {
				t.Fatal(err)
			}
			kit := factortest.NewKit(factortest.Start)
			b := &bench{webauthn.New(kit.Factors(), tc.roots, allow), kit}
			try := enrolling(person, "s")
			if v := b.view(t, try); v.Listed != (allow != nil) {
				t.Error("the page does not say that not every key will do")
			}
			options := b.adding(t, try)
			if !strings.Contains(options, `"attestation":"direct"`) {
				t.Errorf("not asked for its maker: %s", options)
			}
			_, err = b.act(t, try, "save", credential(tc.answer(k, options)))
			rows, _ := b.kit.Credentials.Of(t.Context(), person)
			if tc.want != "" {
				if err == nil || fault.Of(err).Key != tc.want || len(rows) != 0 {
					t.Errorf("%v, %d keys, want %s", err, len(rows), tc.want)
				}
				return
			}
			if err != nil || len(rows) != 1 {
				t.Fatalf("%v, %d keys", err, len(rows))
			}
			if v := b.view(t, try); v.Keys[0].Hardware != tc.hwk {
				t.Errorf("hardware %v", v.Keys[0].Hardware)
			}
		})
	}
}

// A U2F statement signs no AAGUID: one that names a model on the list is not of that model.
func TestU2FNamesNoModel(t *testing.T) {
	from, until := factortest.Start.AddDate(-1, 0, 0), factortest.Start.AddDate(10, 0, 0)
	root := issue(t, "Root", nil, nil, from, until)
	const model = "f8a011f3-8c0a-4d15-8006-17111f9edc7d"
	allow, err := webauthn.Allow(model)
	if err != nil {
		t.Fatal(err)
	}
	kit := factortest.NewKit(factortest.Start)
	b, k, try := &bench{webauthn.New(kit.Factors(), pool(t, root), allow), kit}, newToken(), enrolling(person, "s")
	answer := asU2F(t, k, b.adding(t, try), u2f(t, root, from, until), uuid.MustParse(model))
	if _, err := b.act(t, try, "save", credential(answer)); err == nil {
		t.Error("registered as a model it only claims to be")
	}
}

// Keys that were registered before there was a list go on working.
func TestAListTouchesNoOldKey(t *testing.T) {
	kit, k := factortest.NewKit(factortest.Start), newToken()
	(&bench{webauthn.New(kit.Factors(), nil, nil), kit}).add(t, person, k, "")
	allow, err := webauthn.Allow("f8a011f3-8c0a-4d15-8006-17111f9edc7d")
	if err != nil {
		t.Fatal(err)
	}
	b, try := &bench{webauthn.New(kit.Factors(), nil, allow), kit}, signin("b")
	if _, err := b.Verify(t.Context(), try, credential(k.assert(t, b.begin(t, try)))); err != nil {
		t.Error(err)
	}
}

func TestAllow(t *testing.T) {
	for list, want := range map[string]string{
		"":                                     "any",
		" , \n":                                "any",
		"f8a011f3-8c0a-4d15-8006-17111f9edc7d": "",
		"F8A011F3-8C0A-4D15-8006-17111F9EDC7D 0123456789abcdef0123456789abcdef01234567": "",
		"00000000-0000-0000-0000-000000000000":                                          "zeros",
		"f8a011f38c0a4d15800617111f9edc7d":                                              "neither",
		"{f8a011f3-8c0a-4d15-8006-17111f9edc7d}":                                        "neither",
		"urn:uuid:f8a011f3-8c0a-4d15-8006-17111f9edc7d":                                 "neither",
		"0123456789abcdef0123456789abcdef0123456":                                       "neither",
		"YubiKey": "neither",
	} {
		a, err := webauthn.Allow(list)
		switch want {
		case "any":
			if a != nil || err != nil {
				t.Errorf("%q: %v %v", list, a, err)
			}
		case "":
			if a == nil || err != nil {
				t.Errorf("%q: %v", list, err)
			}
		default:
			if a != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v %v", list, a, err)
			}
		}
	}
}
