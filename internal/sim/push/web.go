package push

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var topicForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`) // RFC 8030 §5.4

// webpush is the push resource of a subscription (RFC 8030 §5).
func (s *Service) webpush(w http.ResponseWriter, r *http.Request) {
	status, err := s.takeWebPush(w, r)
	if err != nil {
		http.Error(w, err.Error(), status)
	}
}

func (s *Service) takeWebPush(w http.ResponseWriter, r *http.Request) (int, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) > 4096 {
		return http.StatusRequestEntityTooLarge, errors.New("at most 4096 bytes")
	}
	a, ok := s.find("webpush", r.PathValue("id"))
	if !ok {
		return http.StatusNotFound, errors.New("no such subscription")
	}
	sender, err := vapid(r, time.Now())
	if err != nil {
		return http.StatusForbidden, err
	}
	if a.sender != "" && a.sender != sender { // RFC 8292 §4.2
		return http.StatusForbidden, errors.New("the subscription is another sender's")
	}
	ttl, err := strconv.Atoi(r.Header.Get("TTL"))
	if err != nil || ttl < 0 {
		return http.StatusBadRequest, errors.New("the TTL is missing")
	}
	topic, urgency := r.Header.Get("Topic"), r.Header.Get("Urgency")
	if topic != "" && !topicForm.MatchString(topic) {
		return http.StatusBadRequest, errors.New("no topic")
	}
	if urgency != "" && !slices.Contains([]string{"very-low", "low", "normal", "high"}, urgency) {
		return http.StatusBadRequest, errors.New("no urgency")
	}
	if r.Header.Get("Content-Encoding") != "aes128gcm" {
		return http.StatusUnsupportedMediaType, errors.New("want aes128gcm")
	}
	refuse := func(t Trouble) {
		status := map[Trouble]int{Gone: 410, Busy: 429, Failing: 500, Away: 503, Denied: 403}[t]
		http.Error(w, string(t), status)
	}
	if s.fails(w, r, a.gone, refuse) {
		return 0, nil
	}
	p := Push{Kind: "webpush", To: r.PathValue("id"), Seconds: ttl, Urgent: urgency == "high", Topic: topic}
	if a.browser != "" {
		s.post(a, body, p)
	} else {
		plain, err := Decrypt(a.key, a.auth, body)
		if err != nil { // a real service cannot know; the browser throws it away
			return http.StatusBadRequest, err
		}
		p.Data = string(plain)
		s.deliver(p)
	}
	w.Header().Set("Location", "/message/"+r.PathValue("id"))
	w.WriteHeader(http.StatusCreated)
	return 0, nil
}

// vapid checks who sends (RFC 8292 §2, §3) and returns the key, base64url.
func vapid(r *http.Request, now time.Time) (sender string, err error) {
	params, ok := strings.CutPrefix(r.Header.Get("Authorization"), "vapid ")
	if !ok {
		return "", errors.New("no vapid")
	}
	values := map[string]string{}
	for p := range strings.SplitSeq(params, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		values[name] = v
	}
	point, err := base64.RawURLEncoding.DecodeString(values["k"])
	if err != nil {
		return "", errors.New("k is no base64url")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return "", fmt.Errorf("k is no point: %w", err)
	}
	var claims struct {
		Aud string `json:"aud"`
		Exp int64  `json:"exp"`
		Sub string `json:"sub"`
	}
	if err := verify(values["t"], jose.ES256, key, &claims); err != nil {
		return "", err
	}
	left := time.Unix(claims.Exp, 0).Sub(now)
	switch {
	case claims.Aud != base(r):
		return "", errors.New("aud is not this service")
	case left <= 0 || left > 24*time.Hour:
		return "", errors.New("exp is over, or more than a day away")
	case !strings.HasPrefix(claims.Sub, "https:") && !strings.HasPrefix(claims.Sub, "mailto:"):
		return "", errors.New("sub is nobody to ask")
	case strings.HasPrefix(claims.Sub, "mailto:") && !strings.Contains(claims.Sub, "@"):
		return "", errors.New("sub is no address")
	}
	return values["k"], nil
}

// verify checks a JWT of one algorithm and reads its claims.
func verify(token string, alg jose.SignatureAlgorithm, key any, claims any) error {
	t, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if err != nil {
		return fmt.Errorf("no token: %w", err)
	}
	payload, err := t.Verify(key)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return json.Unmarshal(payload, claims)
}

// Decrypt is what the browser does (RFC 8188 §2, RFC 8291 §3): one record.
func Decrypt(key *ecdh.PrivateKey, auth, body []byte) ([]byte, error) {
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		return nil, errors.New("no header")
	}
	salt, size, sender, rest := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:21+int(body[20])], body[21+int(body[20]):]
	if size < 18 || len(rest) > int(size) {
		return nil, errors.New("more than one record")
	}
	theirs, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := key.ECDH(theirs)
	if err != nil {
		return nil, err
	}
	info := "WebPush: info\x00" + string(key.PublicKey().Bytes()) + string(sender)
	ikm, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, err
	}
	cek, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, rest, nil)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(plain), "\x00")
	if !strings.HasSuffix(text, "\x02") {
		return nil, errors.New("no end of the last record")
	}
	return []byte(text[:len(text)-1]), nil
}
