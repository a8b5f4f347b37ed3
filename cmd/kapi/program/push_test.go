package program

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Which push services there are follows from the settings; what is wrong is named by its setting, and nothing of a key is repeated.
func TestPushRoutes(t *testing.T) {
	google, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	apple, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "client_email": "a@p.example", "private_key": keyPEM(t, google), "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	try := func(env ...string) (kinds []string, key string, err error) {
		s, err := Resolve(nil, append([]string{"KAPI_DATABASE=sqlite:" + filepath.Join(dir, "kapi.db")}, env...))
		if err != nil {
			return nil, "", err
		}
		a, err := New(t.Context(), s, Options{})
		if err != nil {
			return nil, "", err
		}
		defer a.Close()
		kinds = slices.Sorted(maps.Keys(a.worker.States()))
		return kinds, a.apps, nil
	}
	for _, c := range []struct {
		name string
		env  []string
		want string // gateways
		err  string
	}{
		{"nothing set", nil, "push-webpush", ""},
		{"no web push", []string{"KAPI_PUSH_HOSTS=off"}, "", ""},
		{"the simulated phone", []string{"KAPI_PUSH=inbox:http://127.0.0.1:9"}, "push-apns push-fcm push-hms push-webpush", ""},
		{"google", []string{"KAPI_PUSH_FCM=" + string(account), "KAPI_PUSH_HOSTS=off"}, "push-fcm", ""},
		{"apple", []string{"KAPI_PUSH_APNS=" + keyPEM(t, apple), "KAPI_PUSH_APNS_KEY_ID=ABCDE12345", "KAPI_PUSH_APNS_TEAM=ABCDE12345", "KAPI_PUSH_APNS_TOPICS=org.example.kapi"}, "push-apns push-webpush", ""},
		{"huawei", []string{`KAPI_PUSH_HMS={"app_id":"1","client_secret":"hush-hush"}`}, "push-hms push-webpush", ""},
		{"a file of something else", []string{`KAPI_PUSH_FCM={"type":"authorized_user","private_key":"hush-hush"}`}, "", "KAPI_PUSH_FCM: "},
		{"half of apple", []string{"KAPI_PUSH_APNS_TEAM=ABCDE12345"}, "", "go together"},
		{"google's key for apple", []string{"KAPI_PUSH_APNS=" + keyPEM(t, google), "KAPI_PUSH_APNS_KEY_ID=ABCDE12345", "KAPI_PUSH_APNS_TEAM=ABCDE12345", "KAPI_PUSH_APNS_TOPICS=a"}, "", "go together"},
		{"no app of huawei", []string{`KAPI_PUSH_HMS={"client_secret":"hush-hush"}`}, "", "KAPI_PUSH_HMS: "},
		{"a push service inside", []string{"KAPI_ISSUER=https://login.example.org", "KAPI_PUSH_HOSTS=localhost"}, "", "on this machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := try(c.env...)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hush-hush")):
				t.Errorf("error %v, want one with %q", err, c.err)
			case c.err == "" && (err != nil || strings.Join(got, " ") != c.want):
				t.Errorf("%v %v, want %s", got, err, c.want)
			}
		})
	}
	// The key of Web Push is kept: browsers bind their subscriptions to it.
	_, first, err := try()
	_, second, err2 := try()
	if err != nil || err2 != nil || first == "" || first != second {
		t.Errorf("%q, then %q: %v %v", first, second, err, err2)
	}
}
