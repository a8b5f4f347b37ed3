package provider

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
)

func (k *kit) refresh(client, token string, pairs ...string) reply {
	k.Helper()
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return k.call("/oauth/token", client, v)
}

func TestP10_RefreshRace(t *testing.T) {
	k := newKit(t)
	for range 20 {
		first := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
		successors := map[string]int{}
		for _, a := range race(40, func() reply { return k.refresh("rp-basic", first) }) {
			if a.Code != 200 {
				t.Fatalf("%d %s", a.Code, a.Body)
			}
			successors[a.text("refresh_token")]++
		}
		if len(successors) != 1 || successors[first] != 0 {
			t.Fatalf("the grace window gave %d successors", len(successors))
		}
	}
	if k.count(audit.TokenReuse) != 0 {
		t.Error("a race within the grace window counted as theft")
	}
}

func TestP10_RefreshReuse(t *testing.T) {
	k := newKit(t)
	first := k.signedIn("rp-basic", "scope", "openid offline_access")
	second := k.refresh("rp-basic", first.text("refresh_token"))
	k.pass(5 * time.Second)
	if got := k.refresh("rp-basic", first.text("refresh_token")); got.text("refresh_token") != second.text("refresh_token") {
		t.Errorf("within the grace window: %d %s", got.Code, got.Body)
	}
	k.pass(time.Microsecond)
	if got := k.refresh("rp-basic", first.text("refresh_token")); got.text("error") != "invalid_grant" {
		t.Fatalf("after the grace window: %d %s", got.Code, got.Body)
	}
	for name, got := range map[string]int{
		"successor":    k.refresh("rp-basic", second.text("refresh_token")).Code,
		"first access": k.userinfo(first.text("access_token")).Code - 1, "second access": k.userinfo(second.text("access_token")).Code - 1,
	} {
		if got != 400 {
			t.Errorf("%s lives on after a reuse", name)
		}
	}
	if k.count(audit.TokenReuse) != 1 {
		t.Errorf("%d reuse events", k.count(audit.TokenReuse))
	}
	// Two generations back is theft at once, grace or not.
	a := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
	b := k.refresh("rp-basic", a).text("refresh_token")
	k.refresh("rp-basic", b)
	if got := k.refresh("rp-basic", a); got.text("error") != "invalid_grant" || k.count(audit.TokenReuse) != 2 {
		t.Errorf("two back: %d %s", got.Code, got.Body)
	}
}

func TestP10_RefreshKeepsAndNarrows(t *testing.T) {
	k := newKit(t)
	first := k.signedIn("rp-basic", "scope", "openid profile offline_access")
	signedAt := k.now().Unix()
	k.pass(10 * time.Minute)
	if got := k.refresh("rp-basic", first.text("refresh_token"), "scope", "openid phone"); got.text("error") != "invalid_scope" {
		t.Errorf("wider: %d %s", got.Code, got.Body)
	}
	second := k.refresh("rp-basic", first.text("refresh_token"), "scope", "openid")
	if second.Code != 200 || second.text("scope") != "openid" {
		t.Fatalf("a refused widening must not burn the token: %d %s", second.Code, second.Body)
	}
	before, after := k.claimsOf(first.text("id_token")), k.claimsOf(second.text("id_token"))
	for _, name := range []string{"iss", "sub", "aud", "acr", "auth_time", "sid", "azp"} {
		if before[name] != after[name] {
			t.Errorf("%s changed from %v to %v", name, before[name], after[name])
		}
	}
	if after["auth_time"] != float64(signedAt) || after["nonce"] != nil || after["iat"] == before["iat"] {
		t.Errorf("refreshed %v", after)
	}
	if info := k.userinfo(second.text("access_token")); info.fields["name"] != nil || info.fields["sub"] == nil {
		t.Errorf("a narrowed token tells %v", info.fields)
	}
	machine := k.refresh("rp-basic", second.text("refresh_token"), "scope", "profile")
	if info := k.userinfo(machine.text("access_token")); machine.fields["id_token"] != nil || info.Code != 403 || info.text("error") != "insufficient_scope" {
		t.Errorf("narrowed to less than openid: %s, userinfo %d", machine.Body, info.Code)
	}
	second = machine
	if third := k.refresh("rp-basic", second.text("refresh_token")); third.text("scope") != "openid profile offline_access" {
		t.Errorf("narrowing stuck to the family: %s", third.Body)
	}
}

func TestP10_RefreshEnds(t *testing.T) {
	for name, end := range map[string]func(k *kit, g string){
		"locked account": func(k *kit, _ string) {
			a := k.accounts[ayse]
			a.State = "locked_by_office"
			k.accounts[ayse] = a
		},
		"logout": func(k *kit, g string) {
			s := k.sessions[k.grants[g].Session]
			s.EndedAt = k.now()
			k.sessions[s.ID] = s
		},
		"idle for an hour": func(k *kit, _ string) { k.pass(time.Hour) },
		"grant taken from the client": func(k *kit, _ string) {
			k.change("rp-basic", func(c *clients.Client) { c.GrantTypes = c.GrantTypes[:1] })
		},
	} {
		k := newKit(t)
		token := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
		var g string
		for id := range k.grants {
			g = id
		}
		end(k, g)
		got := k.refresh("rp-basic", token)
		if want := map[bool]string{true: "unauthorized_client", false: "invalid_grant"}[strings.HasPrefix(name, "grant")]; got.text("error") != want {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	k := newKit(t)
	token := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
	for range 13 {
		k.pass(55 * time.Minute)
		if next := k.refresh("rp-basic", token); next.Code == 200 {
			token = next.text("refresh_token")
		}
	}
	k.pass(5*time.Minute - 1)
	last := k.refresh("rp-basic", token)
	if last.Code != 200 || last.fields["expires_in"] != 0.0 && last.fields["expires_in"] != nil {
		t.Errorf("just before the absolute end: %d %s", last.Code, last.Body)
	}
	k.pass(1)
	if got := k.refresh("rp-basic", last.text("refresh_token")); got.text("error") != "invalid_grant" {
		t.Errorf("at the absolute end: %d %s", got.Code, got.Body)
	}
}

// No statement runs for a refresh token that is not ours or not this client's.
func TestP10_RefreshForged(t *testing.T) {
	k := newKit(t)
	token := k.signedIn("rp-basic", "scope", "openid offline_access").text("refresh_token")
	raw, _ := base64url.DecodeString(token)
	raised := append([]byte(nil), raw...)
	raised[len(raised)-1]++
	writes := k.writes
	for name, got := range map[string]reply{
		"other client":     k.refresh("rp-exempt", token),
		"next generation":  k.refresh("rp-basic", base64url.EncodeToString(raised)),
		"cut":              k.refresh("rp-basic", token[:len(token)-1]),
		"other spelling":   k.refresh("rp-basic", token[:len(token)-1]+string(token[len(token)-1]+1)),
		"an access token":  k.refresh("rp-basic", k.s.newAccess()),
		"empty structures": k.refresh("rp-basic", base64url.EncodeToString(make([]byte, macSize+refreshSize))),
	} {
		if got.Code != 400 || got.text("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if k.writes != writes {
		t.Errorf("forged tokens caused %d writes", k.writes-writes)
	}
	if got := k.refresh("rp-basic", token); got.Code != 200 {
		t.Errorf("forgeries harmed the family: %s", got.Body)
	}
}
