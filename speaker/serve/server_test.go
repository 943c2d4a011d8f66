package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a Server that runs, with what it rejected and logged.
type rig struct {
	*Server
	mu       sync.Mutex
	rejected map[string]int
	log      bytes.Buffer
}

func (r *rig) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *rig) reject(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejected[reason]++
}

func (r *rig) count(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rejected[reason]
}

// options are those of a server that trusts the clients of /trusted.
func (r *rig) options() Options {
	r.rejected = map[string]int{}
	return Options{Name: "test", Address: "127.0.0.1:0", Rejected: r.reject, Log: slog.New(slog.NewTextHandler(r, nil)),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/trusted" {
				Trust(w, req)
			}
			fmt.Fprintln(w, "page")
		})}
}

// start runs a server on a real socket until the test ends.
func start(t *testing.T, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *rig {
	t.Helper()
	r := &rig{}
	o := r.options()
	o.Certificate = certificate
	var err error
	if r.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// get sends a request on a connection, and returns the status and whether the server closes
// the connection.
func get(t *testing.T, c net.Conn, path string) (status int, closes bool) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Close
}

func dial(t *testing.T, r *rig) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A stranger who opens 2,000 connections keeps 64 of them at most, and no other client out.
func TestStrangerWithManyConnectionsKeepsNobodyOut(t *testing.T) {
	r := start(t, nil)
	trusted := dial(t, r)
	if status, closes := get(t, trusted, "/trusted"); status != http.StatusOK || closes {
		t.Fatalf("status %d, closes %v", status, closes)
	}
	for range 2000 {
		dial(t, r)
	}
	if status, _ := get(t, dial(t, r), "/"); status != http.StatusOK {
		t.Errorf("another client gets %d", status)
	}
	if status, _ := get(t, trusted, "/trusted"); status != http.StatusOK {
		t.Errorf("the trusted client gets %d", status)
	}
	r.listener.mu.Lock()
	defer r.listener.mu.Unlock()
	if r.listener.open > maxConnections || r.count(TooManyConnections) < 2000-maxConnections {
		t.Errorf("%d connections are open, %d were refused", r.listener.open, r.count(TooManyConnections))
	}
}

func TestOnlyTrustedConnectionsServeMoreRequests(t *testing.T) {
	r := start(t, nil)
	if _, closes := get(t, dial(t, r), "/"); !closes {
		t.Error("the connection of a stranger stays open")
	}
	c := dial(t, r)
	for range 3 {
		if _, closes := get(t, c, "/trusted"); closes {
			t.Error("the connection of a trusted client is closed")
		}
	}
	if _, closes := get(t, c, "/"); !closes {
		t.Error("the connection stays open after a request of a stranger")
	}
}

func TestServerSpeaksHTTP1WithNewTLSOnly(t *testing.T) {
	r := start(t, NewSelfSigned("node1").Get)
	offer := func(c *tls.Config) (*tls.Conn, error) {
		c.InsecureSkipVerify = true
		return tls.Dial("tcp", r.Addr().String(), c)
	}
	c, err := offer(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("the server chose %q", got)
	}
	if status, closes := get(t, c, "/trusted"); status != http.StatusOK || closes {
		t.Errorf("status %d, closes %v: Trust does not find the connection below TLS", status, closes)
	}
	if _, err := offer(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for deadline := time.Now().Add(10 * time.Second); r.count(BadHandshake) == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the failed handshake was not counted")
		}
	}
}

// pipes is a listener whose connections are pipes, so that time can be simulated.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowClientsAreDisconnected(t *testing.T) {
	for name, test := range map[string]struct {
		sends string
		after time.Duration
	}{
		"sends nothing":            {"", headerTimeout},
		"sends half of its header": {"GET / HTTP/1.1\r\nHost:", headerTimeout},
		"stays idle":               {"GET /trusted HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
		"never sends its body":     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", readTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, listener := &rig{}, make(pipes)
				r.Server = newServer(listener, r.options())
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- r.Run(ctx) }()
				client, server := net.Pipe()
				listener <- server
				begun := time.Now()
				go func() { _, _ = io.WriteString(client, test.sends) }()
				_, _ = io.Copy(io.Discard, client) // until the server closes it
				if took := time.Since(begun); took > test.after+time.Second {
					t.Errorf("the server closed the connection after %v", took)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				client.Close()
			})
		})
	}
}

func TestErrorsOfConnectionsAreLoggedSparsely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{rejected: map[string]int{}}
		e := &errorLog{server: "test", log: slog.New(slog.NewTextHandler(r, nil)), rejected: r.reject}
		for range 5 * 600 {
			fmt.Fprintf(e, "http: TLS handshake error from 192.0.2.1:1234: %s\n", strings.Repeat("x", 5000))
			time.Sleep(100 * time.Millisecond)
		}
		if lines := strings.Count(r.log.String(), "\n"); lines < 5 || lines > 5*linesPerMinute {
			t.Errorf("%d lines in five minutes", lines)
		}
		if r.log.Len() > 15*1000 || !strings.Contains(r.log.String(), fmt.Sprint("not-logged=", 600-linesPerMinute)) {
			t.Errorf("%s", r.log.String())
		}
		if r.rejected[BadHandshake] != 3000 {
			t.Errorf("%d failed handshakes were counted", r.rejected[BadHandshake])
		}
		r.log.Reset()
		fmt.Fprintln(e, "http: panic serving 192.0.2.1:1234: oops\ngoroutine 1 [running]:")
		if !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), "goroutine 1") {
			t.Errorf("a panic is logged as %s", r.log.String())
		}
	})
}

func TestServerNamesAWrongAddress(t *testing.T) {
	r := start(t, nil)
	for _, address := range []string{"", "7472", "127.0.0.1:", r.Addr().String()} {
		if s, err := New(Options{Address: address}); err == nil || s != nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("no error for the address %q", address)
		} else if !strings.Contains(err.Error(), address) {
			t.Errorf("the error for %q is %v", address, err)
		}
	}
}
