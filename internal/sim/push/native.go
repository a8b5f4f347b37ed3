package push

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Google is a project of FCM.
type Google struct {
	Project string
	Email   string // of the service account
	Key     *rsa.PublicKey
}

// Apple is a provider of APNs.
type Apple struct {
	KeyID, Team, Topic string
	Key                *ecdsa.PublicKey
}

// Huawei is an app of Push Kit.
type Huawei struct{ App, Secret string }

// grant gives out an access token that is good for an hour.
func (s *Service) grant(w http.ResponseWriter) {
	b := make([]byte, 16)
	rand.Read(b)
	token := "at." + hex.EncodeToString(b)
	s.mu.Lock()
	s.made++
	s.grants[token] = s.c.Now().Add(time.Hour)
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
}

// granted says whether the request carries a token that was given out and is good.
func (s *Service) granted(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.grants[token]
	return ok && known && s.c.Now().Before(until)
}

// Revoke makes every access token worthless.
func (s *Service) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.grants)
}

// googleToken trades an assertion (RFC 7523).
func (s *Service) googleToken(w http.ResponseWriter, r *http.Request) {
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	if s.fails(w, r, false, func(t Trouble) {
		w.WriteHeader(map[Trouble]int{Gone: 400, Busy: 429, Failing: 500, Away: 503, Denied: 401}[t])
	}) {
		return
	}
	g, now := s.c.FCM, s.c.Now().Unix()
	switch {
	case g == nil || r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer",
		verify(r.PostFormValue("assertion"), jose.RS256, g.Key, &claims) != nil,
		claims.Iss != g.Email, claims.Scope != "https://www.googleapis.com/auth/firebase.messaging", claims.Aud != "https://"+r.Host+"/token",
		claims.Iat > now+60, claims.Exp <= now, claims.Exp-claims.Iat > 3600:
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
	default:
		s.grant(w)
	}
}

var ttlForm = regexp.MustCompile(`^[0-9]{1,7}s$`)

// fcmError is an answer of projects.messages.send.
func fcmError(w http.ResponseWriter, status int, code, field string) {
	details := []map[string]any{{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}}
	if field != "" {
		details = append(details, map[string]any{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []map[string]string{{"field": field, "description": "Invalid registration token"}}})
	}
	answer(w, status, map[string]any{"error": map[string]any{"code": status, "message": "see details", "status": code, "details": details}})
}

func (s *Service) fcm(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Message struct {
			Token   string            `json:"token"`
			Data    map[string]string `json:"data"`
			Android struct {
				Priority string `json:"priority"`
				TTL      string `json:"ttl"`
				Collapse string `json:"collapse_key"`
			} `json:"android"`
		} `json:"message"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || !isJSON(r) {
		fcmError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "")
		return
	}
	m := in.Message
	if s.c.FCM == nil || r.PathValue("project") != s.c.FCM.Project {
		http.NotFound(w, r) // of the project: no code of FCM
		return
	}
	if !s.granted(r) {
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": 401, "status": "UNAUTHENTICATED"}})
		return
	}
	a, ok := s.find("fcm", m.Token)
	if !ok {
		fcmError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "message.token")
		return
	}
	if !ttlForm.MatchString(m.Android.TTL) || !slices.Contains([]string{"HIGH", "NORMAL"}, m.Android.Priority) {
		fcmError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "message.android")
		return
	}
	if s.fails(w, r, a.gone, func(t Trouble) {
		switch t {
		case Gone:
			fcmError(w, 404, "UNREGISTERED", "")
		case Busy:
			fcmError(w, 429, "QUOTA_EXCEEDED", "")
		case Away:
			fcmError(w, 503, "UNAVAILABLE", "")
		case Denied:
			fcmError(w, 403, "SENDER_ID_MISMATCH", "")
		default:
			fcmError(w, 500, "INTERNAL", "")
		}
	}) {
		return
	}
	b, _ := json.Marshal(m.Data)
	seconds, _ := strconv.Atoi(strings.TrimSuffix(m.Android.TTL, "s"))
	s.deliver(Push{Kind: "fcm", To: m.Token, Data: string(b), Seconds: seconds, Urgent: m.Android.Priority == "HIGH", Topic: m.Android.Collapse})
	answer(w, http.StatusOK, map[string]string{"name": "projects/" + s.c.FCM.Project + "/messages/1"})
}

func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (s *Service) apns(w http.ResponseWriter, r *http.Request) {
	reason := func(status int, why string) {
		answer(w, status, map[string]string{"reason": why})
	}
	var in map[string]any
	switch why := s.provider(r); {
	case r.ProtoMajor != 2: // the real one does not even answer
		panic(http.ErrAbortHandler)
	case why != "":
		reason(http.StatusForbidden, why)
		return
	case r.Header.Get("Apns-Topic") != s.c.APNs.Topic:
		reason(http.StatusBadRequest, "DeviceTokenNotForTopic")
		return
	case r.Header.Get("Apns-Push-Type") != "alert":
		reason(http.StatusBadRequest, "InvalidPushType")
		return
	case !slices.Contains([]string{"1", "5", "10"}, r.Header.Get("Apns-Priority")):
		reason(http.StatusBadRequest, "BadPriority")
		return
	case len(r.Header.Get("Apns-Collapse-Id")) > 64:
		reason(http.StatusBadRequest, "BadCollapseId")
		return
	case r.Header.Get("Apns-Id") != "" && !uuidForm.MatchString(r.Header.Get("Apns-Id")):
		reason(http.StatusBadRequest, "BadMessageId")
		return
	case json.NewDecoder(r.Body).Decode(&in) != nil || in["aps"] == nil:
		reason(http.StatusBadRequest, "PayloadEmpty")
		return
	}
	until, err := strconv.ParseInt(r.Header.Get("Apns-Expiration"), 10, 64)
	if err != nil {
		reason(http.StatusBadRequest, "BadExpirationDate")
		return
	}
	a, ok := s.find("apns", r.PathValue("token"))
	if !ok {
		reason(http.StatusBadRequest, "BadDeviceToken")
		return
	}
	if s.fails(w, r, a.gone, func(t Trouble) {
		switch t {
		case Gone:
			answer(w, http.StatusGone, map[string]any{"reason": "Unregistered", "timestamp": s.c.Now().UnixMilli()})
		case Busy:
			reason(429, "TooManyRequests")
		case Away:
			reason(503, "ServiceUnavailable")
		case Denied:
			reason(403, "ExpiredProviderToken")
		default:
			reason(500, "InternalServerError")
		}
	}) {
		return
	}
	b, _ := json.Marshal(in)
	s.deliver(Push{
		Kind: "apns", To: r.PathValue("token"), Data: string(b), Seconds: int(time.Unix(until, 0).Sub(s.c.Now()) / time.Second),
		Urgent: r.Header.Get("Apns-Priority") == "10", Topic: r.Header.Get("Apns-Collapse-Id"),
	})
	w.Header().Set("Apns-Id", r.Header.Get("Apns-Id"))
	w.WriteHeader(http.StatusOK)
}

// provider says what is wrong with the token of the provider; "" = nothing.
func (s *Service) provider(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	if !ok || s.c.APNs == nil {
		return "MissingProviderToken"
	}
	var claims struct {
		Iss string
		Iat int64
	}
	if t, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256}); err != nil || t.Signatures[0].Header.KeyID != s.c.APNs.KeyID {
		return "InvalidProviderToken"
	}
	if verify(token, jose.ES256, s.c.APNs.Key, &claims) != nil || claims.Iss != s.c.APNs.Team {
		return "InvalidProviderToken"
	}
	age := s.c.Now().Sub(time.Unix(claims.Iat, 0))
	if age > time.Hour || age < -time.Minute {
		return "ExpiredProviderToken"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.seen, token) {
		s.seen = append(s.seen, token)
		s.made++
	}
	return ""
}

// huaweiToken gives a token for the client's secret.
func (s *Service) huaweiToken(w http.ResponseWriter, r *http.Request) {
	if s.fails(w, r, false, func(t Trouble) {
		w.WriteHeader(map[Trouble]int{Gone: 400, Busy: 429, Failing: 500, Away: 503, Denied: 401}[t])
	}) {
		return
	}
	h := s.c.HMS
	if h == nil || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("client_id") != h.App || r.PostFormValue("client_secret") != h.Secret {
		answer(w, http.StatusBadRequest, map[string]any{"error": 1101, "error_description": "invalid client"})
		return
	}
	s.grant(w)
}

func (s *Service) hms(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ValidateOnly bool `json:"validate_only"`
		Message      struct {
			Data    string `json:"data"`
			Android struct {
				Urgency  string `json:"urgency"`
				TTL      string `json:"ttl"`
				Collapse *int   `json:"collapse_key"`
			} `json:"android"`
			Token []string `json:"token"`
		} `json:"message"`
	}
	say := func(status int, code string) {
		answer(w, status, map[string]string{"code": code, "msg": "see code", "requestId": "1"})
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&in)
	m := in.Message
	switch {
	case !s.granted(r):
		say(http.StatusUnauthorized, "80200003")
		return
	case s.c.HMS == nil || r.PathValue("app") != s.c.HMS.App:
		say(http.StatusOK, "80300002")
		return
	case err != nil || !isJSON(r) || in.ValidateOnly || m.Data == "" || len(m.Token) != 1:
		say(http.StatusBadRequest, "80100003")
		return
	case !ttlForm.MatchString(m.Android.TTL) || m.Android.Collapse == nil || *m.Android.Collapse < -1 || *m.Android.Collapse > 100 ||
		!slices.Contains([]string{"HIGH", "NORMAL"}, m.Android.Urgency):
		say(http.StatusBadRequest, "80100001")
		return
	}
	a, ok := s.find("hms", m.Token[0])
	if s.fails(w, r, a.gone || !ok, func(t Trouble) {
		switch t {
		case Gone:
			say(http.StatusOK, "80300007")
		case Busy:
			say(429, "")
		case Away:
			say(503, "")
		case Denied:
			say(http.StatusOK, "80200001")
		default:
			say(500, "81000001")
		}
	}) {
		return
	}
	seconds, _ := strconv.Atoi(strings.TrimSuffix(m.Android.TTL, "s"))
	s.deliver(Push{Kind: "hms", To: m.Token[0], Data: m.Data, Seconds: seconds, Urgent: m.Android.Urgency == "HIGH", Topic: fmt.Sprint(*m.Android.Collapse)})
	say(http.StatusOK, "80000000")
}
