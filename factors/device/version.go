package device

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Version of an app: major, minor, patch.
type Version [3]int

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v Version) less(w Version) bool {
	return cmp.Or(cmp.Compare(v[0], w[0]), cmp.Compare(v[1], w[1]), cmp.Compare(v[2], w[2])) < 0
}

var (
	versionForm = regexp.MustCompile(`^[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}$`)
	platforms   = map[string]bool{"web": true, "android": true, "ios": true, "huawei": true}
)

func parseVersion(s string) (v Version, ok bool) {
	if !versionForm.MatchString(s) {
		return v, false
	}
	for i, part := range strings.Split(s, ".") {
		v[i], _ = strconv.Atoi(part)
	}
	return v, true
}

// ParseMinimum reads a setting such as "1.2.0" or "web=1.0.0,android=2.1.0".
func ParseMinimum(s string) (map[string]Version, error) {
	out := map[string]Version{}
	err := byPlatform(s, true, func(platform, value string) error {
		v, ok := parseVersion(value)
		if !ok {
			return fmt.Errorf("%q is no version like 1.2.0", value)
		}
		out[platform] = v
		return nil
	})
	return out, err
}

// ParseLinks reads a setting such as "android=https://play.example/app,ios=https://store.example/app".
func ParseLinks(s string) (map[string]string, error) {
	out := map[string]string{}
	err := byPlatform(s, false, func(platform, value string) error {
		if !strings.HasPrefix(value, "https://") {
			return fmt.Errorf("%q does not begin with https://", value)
		}
		out[platform] = value
		return nil
	})
	return out, err
}

func byPlatform(s string, all bool, each func(platform, value string) error) error {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		platform, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named && all {
			platform, value = "", platform
		}
		if platform != "" && !platforms[platform] || platform == "" && !all {
			return fmt.Errorf("%q is no platform: web, android, ios or huawei", platform)
		}
		if seen[platform] {
			return errors.New("a platform stands twice")
		}
		seen[platform] = true
		if err := each(platform, value); err != nil {
			return err
		}
	}
	return nil
}

// app reads Kapi-App and refuses an app that is too old (R128).
func (f *Factor) app(r *http.Request) (platform string, err error) {
	platform, version, _ := strings.Cut(r.Header.Get(HeaderApp), "/")
	v, ok := parseVersion(version)
	if !ok || !platforms[platform] || len(r.Header.Values(HeaderApp)) != 1 {
		return "", refuse(http.StatusBadRequest, "app")
	}
	least, named := f.opts.Minimum[platform]
	if !named {
		least = f.opts.Minimum[""]
	}
	if v.less(least) {
		link := cmp.Or(f.opts.Links[platform], f.kit.Issuer+"/app")
		return "", &refusal{status: http.StatusUpgradeRequired, word: "app_too_old", more: map[string]any{"minimum": least.String(), "link": link}}
	}
	return platform, nil
}
