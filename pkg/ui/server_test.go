package ui

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newTestServer(t *testing.T, source Source) *Server {
	t.Helper()
	s, err := New(Options{Source: source, Cluster: "test", Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	return s
}

func TestServerAnswersOnlyLoopbackNamesAndTheToken(t *testing.T) {
	s := newTestServer(t, &script{})
	good := "Bearer " + s.token
	for name, test := range map[string]struct {
		method, host, path, token string
		status                    int
	}{
		"page":                       {"GET", "127.0.0.1:8080", "/", "", 200},
		"page by name":               {"GET", "localhost:8080", "/", "", 200},
		"page without a port":        {"GET", "localhost", "/page.js", "", 200},
		"another name":               {"GET", "evil.example:8080", "/", "", 421},
		"a name that begins so":      {"GET", "127.0.0.1.evil.example", "/", "", 421},
		"another address":            {"GET", "192.0.2.7:8080", "/", good, 421},
		"a port that is none":        {"GET", "localhost:http", "/", "", 421},
		"no host":                    {"GET", "", "/", "", 421},
		"explain":                    {"GET", "127.0.0.1:8080", "/explain?address=192.0.2.1", good, 200},
		"explain without token":      {"GET", "127.0.0.1:8080", "/explain?address=192.0.2.1", "", 401},
		"explain with a wrong token": {"GET", "127.0.0.1:8080", "/explain?address=192.0.2.1", "Bearer x", 401},
		"token in the query":         {"GET", "127.0.0.1:8080", "/explain?address=192.0.2.1&token=" + s.token, "", 401},
		"explain another host":       {"GET", "evil.example", "/explain?address=192.0.2.1", good, 421},
		"explain nothing":            {"GET", "127.0.0.1:8080", "/explain", good, 400},
		"explain a name":             {"GET", "127.0.0.1:8080", "/explain?address=web", good, 400},
		"explain fails":              {"GET", "127.0.0.1:8080", "/explain?address=192.0.2.2", good, 502},
		"events without token":       {"GET", "127.0.0.1:8080", "/events", "", 401},
		"a path outside":             {"GET", "127.0.0.1:8080", "/page/../server.go", good, 307},
		"a file that is no page":     {"GET", "127.0.0.1:8080", "/index.html", good, 404},
		"a write":                    {"POST", "127.0.0.1:8080", "/explain?address=192.0.2.1", good, 405},
		"a preflight":                {"OPTIONS", "127.0.0.1:8080", "/events", "", 405},
	} {
		r := httptest.NewRequest(test.method, "http://127.0.0.1"+test.path, nil)
		r.Host = test.host
		if test.token != "" {
			r.Header.Set("Authorization", test.token)
		}
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, test.status, w.Body)
		}
		h := w.Result().Header
		if got := h.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: Content-Security-Policy: %q", name, got)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	for path, file := range pageFiles() {
		text := strings.ReplaceAll(string(file.content), "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http:", "https:", "//cdn", "style=", "onclick=", "<script>", "<style>", "innerHTML", "eval("} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
}

func TestEventsShowThatAnAddressMoves(t *testing.T) {
	source := &script{reports: []Report{
		{Time: noon, Speakers: []Speaker{answers("a", []string{"b"}, layer2("a", vip1, "a")), answers("b", []string{"a"}, layer2("b", vip1, "a"))}},
		{Time: noon.Add(time.Second), Speakers: []Speaker{silent("a"), answers("b", nil, layer2("b", vip1, "b"))}},
	}}
	s := newTestServer(t, source)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	url, token, _ := strings.Cut(s.URL(), "#")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type %q", got)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	event, times := "", 0
	var last update
	for times == 0 && lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case ok && event == "picture":
			if err := json.Unmarshal([]byte(data), &last); err != nil {
				t.Fatal(err)
			}
		case ok && event == "time" && len(last.Moves) > 0:
			times++
		}
	}
	if len(last.Moves) != 2 || last.Moves[0].Text != "a was up, and is dead now: no other speaker hears it" || last.Moves[1].Text != "192.0.2.1 moved from a to b" {
		t.Errorf("moves %+v", last.Moves)
	}
	if len(last.Addresses) != 1 || len(last.Addresses[0].Places) != 1 || last.Addresses[0].Places[0].Node != "b" || last.Cluster != "test" {
		t.Errorf("the last picture: %+v", last)
	}

	cancel() // ends the stream, too
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Logf("the stream ended with %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func FuzzIsLoopback(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1:80", "127.0.0.1.evil.example:80", "[::1]:80", "localhost:http", "127.0.0.1:80:80"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !isLoopback(host) {
			return
		}
		name, port, _ := strings.Cut(host, ":")
		if (name != "localhost" && name != "127.0.0.1") || strings.Trim(port, "0123456789") != "" {
			t.Errorf("accepted %q", host)
		}
	})
}
