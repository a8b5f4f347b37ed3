package web

import (
	"slices"
	"testing"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
)

func TestBrowser(t *testing.T) {
	tests := []struct{ agent, browser, system string }{
		{firefox, "Firefox", "Linux"},
		{iphone, "Safari", "iPhone"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36", "Chrome", "Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0", "Edge", "Windows"},
		{"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 YaBrowser/25.1 Safari/537.36", "Yandex", "Windows"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", "Samsung Internet", "Android"},
		{"Mozilla/5.0 (iPad; CPU OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/143.0 Mobile/15E148 Safari/604.1", "Chrome", "iPad"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15", "Safari", "Mac"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36", "Chrome", "ChromeOS"},
		{"curl/8.5.0", "curl", ""},
		{"", "", ""},
		{"<script>alert(1)</script>", "", ""},
	}
	for _, tt := range tests {
		if b, s := Browser(tt.agent); b != tt.browser || s != tt.system {
			t.Errorf("Browser(%q) = %q, %q; want %q, %q", tt.agent, b, s, tt.browser, tt.system)
		}
	}
}

func FuzzBrowser(f *testing.F) {
	f.Add(firefox)
	f.Add(iphone + "\x00\xff")
	f.Fuzz(func(t *testing.T, agent string) {
		b, s := Browser(agent)
		known := func(list []named, name string) bool {
			return name == "" || slices.ContainsFunc(list, func(n named) bool { return n.name == name })
		}
		if !known(browsers, b) || !known(systems, s) {
			t.Errorf("%q made up %q, %q", agent, b, s)
		}
	})
}
