package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwardTo returns a portForward by way of an API server.
func forwardTo(t *testing.T, handler http.HandlerFunc) portForward {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return portForward{client, config}
}

var aPod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "speaker-a"}}

func TestPortForwardSaysThatTheAPIServerRefuses(t *testing.T) {
	var methods []string
	p := forwardTo(t, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method)
		if r.URL.Path != "/api/v1/namespaces/baremetal-system/pods/speaker-a/portforward" {
			t.Errorf("path %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"you may not create pods/portforward","reason":"Forbidden","code":403}`))
	})
	_, err := p.get(context.Background(), aPod, 7473, "/debug/plan")
	if err == nil || !strings.Contains(err.Error(), "connecting to pod speaker-a: ") || !strings.Contains(err.Error(), "you may not create pods/portforward") {
		t.Errorf("error %v", err)
	}
	if len(methods) != 2 || methods[0] != http.MethodGet || methods[1] != http.MethodPost {
		t.Errorf("%v, want a WebSocket, and then SPDY", methods)
	}
}

func TestPortForwardGivesUpWhenItsTimeIsOver(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	late := errNoAnswer(traceTimeout)
	ended := make(chan struct{})
	p := forwardTo(t, func(http.ResponseWriter, *http.Request) {
		cancel(late) // the API server has got the request, and does not answer it
		<-ended
	})
	t.Cleanup(func() { close(ended) })
	if _, err := p.get(ctx, aPod, 7473, "/debug/plan"); !errors.Is(err, late) {
		t.Errorf("error %v", err)
	}
}

// kubelet forwards ports by SPDY. The pod answers with the path of the request; port 1 is closed.
func kubelet(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := httpstream.Handshake(r, w, []string{portForwardProtocol}); err != nil {
			return // a WebSocket: Handshake has refused it
		}
		streams := make(chan httpstream.Stream, 16)
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
			streams <- s
			return nil
		})
		if conn == nil {
			return
		}
		defer conn.Close()
		var failures httpstream.Stream
		for {
			select {
			case s := <-streams:
				switch {
				case s.Headers().Get(v1.StreamType) == v1.StreamTypeError:
					failures = s
				case s.Headers().Get(v1.PortHeader) == "1":
					_, _ = failures.Write([]byte("connection refused"))
					_ = failures.Close()
					_ = s.Close()
				default:
					request, err := http.ReadRequest(bufio.NewReader(s))
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+request.URL.Path)
					_ = s.Close()
					_ = failures.Close()
				}
			case <-conn.CloseChan():
				return
			}
		}
	}
}

func TestPortForwardGetsSeveralPagesOverOneConnection(t *testing.T) {
	p := forwardTo(t, kubelet(t))
	answers, err := p.get(context.Background(), aPod, 7473, "/debug/plan", "/debug/bgp")
	if err != nil || len(answers) != 2 || string(answers[0]) != "/debug/plan" || string(answers[1]) != "/debug/bgp" {
		t.Errorf("%q %v", answers, err)
	}
	if _, err := p.get(context.Background(), aPod, 1, "/debug/plan"); err == nil || !strings.Contains(err.Error(), "port 1: connection refused") {
		t.Errorf("a closed port: %v", err)
	}
}

// pipe is a stream to a pod that has answered already.
type pipe struct {
	strings.Builder
	*strings.Reader
}

func (p *pipe) Write(b []byte) (int, error) { return p.Builder.Write(b) }

func TestExchangeReadsTheBodyOfAnAnswer(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}":                            "{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n": "{}",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                       "the answer is 404 Not Found",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}":                            "unexpected EOF",
		compressedAnswer("{}"): "{}",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}": "decompressing the answer: unexpected EOF",
		"": "reading the answer: unexpected EOF",
	} {
		p := &pipe{Reader: strings.NewReader(answer)}
		body, err := exchange(p, "/debug/plan")
		got := string(body)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
		if !strings.HasPrefix(p.Builder.String(), "GET /debug/plan HTTP/1.1\r\n") || !strings.Contains(p.Builder.String(), "Accept: application/json\r\n") {
			t.Errorf("sent %q", p.Builder.String())
		}
	}
}

// compressedAnswer is the answer of a pod that compresses.
func compressedAnswer(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // to memory
	_ = w.Close()
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

// slowStream gives a byte each second, and nothing more after the last one until it is closed.
type slowStream struct {
	strings.Builder
	left   int
	closed <-chan struct{}
}

func (s *slowStream) Read(b []byte) (int, error) {
	if s.left == 0 {
		<-s.closed
		return 0, io.ErrClosedPipe
	}
	time.Sleep(time.Second)
	s.left--
	b[0] = 'x'
	return 1, nil
}

func TestPodThatSendsSlowlyIsReadOnAndASilentOneIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, idle := withIdleTimeout(t.Context(), podTimeout)
		defer idle.stop()
		began := time.Now()
		body, err := io.ReadAll(idle.of(&slowStream{left: 30, closed: ctx.Done()}))
		if took := time.Since(began); len(body) != 30 || !errors.Is(err, io.ErrClosedPipe) || took != 30*time.Second+podTimeout {
			t.Errorf("%d bytes in %v, %v", len(body), took, err)
		}
		if got := context.Cause(ctx).Error(); got != "no answer within 5s" {
			t.Errorf("the cause is %s", got)
		}
	})
}
