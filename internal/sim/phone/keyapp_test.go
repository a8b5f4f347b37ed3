package phone

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// RFC 6238 appendix B, cut to six digits.
func TestCodesAreThoseOfTheStandard(t *testing.T) {
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // "12345678901234567890"
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got, err := Code(key, time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("at %d: %s, %v, want %s", at, got, err, want)
		}
	}
	if got, err := Code(" gezd gnbv gy3t qojq-GEZD GNBV GY3T QOJQ ", time.Unix(59, 0)); err != nil || got != "287082" {
		t.Errorf("as it is shown: %s, %v", got, err)
	}
}

func TestKeyApp(t *testing.T) {
	now := time.Unix(59, 0)
	p := New(Config{Now: func() time.Time { return now }})
	post := func(name, key string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://localhost:8082/keys", strings.NewReader(url.Values{"name": {name}, "key": {key}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	for _, wrong := range []string{"", "123", "not base32 at all!", strings.Repeat("A", 600), "otpauth://totp/x?secret="} {
		if w := post("x", wrong); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "This is no key") {
			t.Errorf("%.20q: %d", wrong, w.Code)
		}
	}
	for name, key := range map[string]string{"Fatma": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "": "otpauth://totp/Kapi:Ali%20Kurt?secret=GEZDGNBVGY3TQOJQ&issuer=Kapi"} {
		if w := post(name, key); w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := post("Fatma", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"); w.Code != http.StatusSeeOther {
		t.Errorf("again: %d", w.Code)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost:8082/keys", nil))
	var keys []shown
	if err := json.Unmarshal(w.Body.Bytes(), &keys); err != nil || len(keys) != 2 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	codes := map[string]string{}
	for _, k := range keys {
		if codes[k.Name] = k.Code; k.Left != 1 {
			t.Errorf("%+v", k)
		}
	}
	if codes["Fatma"] != "287082" || len(codes["Kapi:Ali Kurt"]) != 6 {
		t.Errorf("%v", codes)
	}
	w = httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost:8082/list", nil))
	if body := w.Body.String(); !strings.Contains(body, "Key app · Fatma") || !strings.Contains(body, "287082") || strings.Contains(body, "GEZDG") {
		t.Errorf("the page shows\n%s", body)
	}
}

// What is typed as a key is a key with a code, or refused.
func FuzzAddKey(f *testing.F) {
	f.Add("", "GEZDGNBVGY3TQOJQ")
	f.Add("x", "otpauth://totp/Kapi:x?secret=GEZDGNBVGY3TQOJQ")
	f.Add("\xff", "otpauth:%zz")
	f.Fuzz(func(t *testing.T, name, key string) {
		p := New(Config{Now: func() time.Time { return time.Unix(59, 0) }})
		err := p.AddKey(name, key)
		all := p.shown()
		if (err == nil) != (len(all) == 1) || err == nil && (len(all[0].Code) != 6 || all[0].Name == "") {
			t.Fatalf("%v: %+v", err, all)
		}
	})
}
