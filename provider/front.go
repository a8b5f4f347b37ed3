package provider

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/kapi-id/kapi/internal/fault"
)

// paramParked carries the parameters of a form that is made a GET. They travel sealed: login_hint and id_token_hint tell who
// somebody is, and an address stays in histories, logs and Referer.
const paramParked = "parked"

// parkedLife is how long such an address is good: the browser follows it at once.
const parkedLife = time.Minute

// parameters reads a GET or a form POST. With errTwice the values come too: who may be told depends on them.
func (s *Server) parameters(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > mostQuery {
		return nil, oidc.ErrInvalidRequest().WithDescription("the query is too long")
	}
	if r.Method != http.MethodPost {
		values, err := once(r.URL.RawQuery)
		if err == nil && len(values) == 1 && values.Has(paramParked) {
			return s.unpark(r.URL.Path, values.Get(paramParked))
		}
		return values, err
	}
	if r.URL.RawQuery != "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("a POST has its parameters in the body")
	}
	return form(w, r)
}

// again sends a browser that posted without cookies to the same place with a GET.
func (s *Server) again(w http.ResponseWriter, r *http.Request, path string, params url.Values) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(s.now().Unix()))
	plain = append(plain, params.Encode()...) // also what stands twice stays twice
	query := paramParked + "=" + base64url.EncodeToString(s.cfg.Ring.Seal(parkedAt(path), plain))
	if len(query) > mostQuery {
		s.unreadable(w, r, params, oidc.ErrInvalidRequest().WithDescription("the form is too long"))
		return
	}
	redirect(w, path+"?"+query)
}

func (s *Server) unpark(path, parked string) (url.Values, error) {
	sealed, err := base64url.DecodeString(parked)
	if err != nil {
		return nil, errExpired
	}
	plain, err := s.cfg.Ring.Unseal(parkedAt(path), sealed)
	if err != nil || len(plain) < 8 {
		return nil, errExpired
	}
	at := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)
	if s.now().Sub(at).Abs() > parkedLife {
		return nil, errExpired
	}
	return once(string(plain[8:]))
}

func parkedAt(path string) string { return "provider.parked:" + path }

// unreadable shows that a request could not be read, or came too late.
func (s *Server) unreadable(w http.ResponseWriter, r *http.Request, params url.Values, err error) {
	if !errors.Is(err, errExpired) {
		err = fault.Wrap(fault.Invalid, "authorize.request", err)
	}
	s.cfg.Pages.Failure(w, r, spoken(params), err)
}

// spoken are the languages a request asks for, as far as it can be read.
func spoken(params url.Values) []string { return locales(params.Get("ui_locales")) }
