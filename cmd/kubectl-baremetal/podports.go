package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

const (
	// podTimeout is how long a pod may send nothing. A large document over a slow link takes
	// longer, and that is no fault of the pod.
	podTimeout = 5 * time.Second
	// maxPodTime is how long a pod has to answer all requests.
	maxPodTime = time.Minute
	// maxAnswer is the size of the longest answer that is read.
	maxAnswer = 256 << 20
	// portForwardProtocol is the protocol of the subresource portforward.
	portForwardProtocol = "portforward.k8s.io"
)

// podPorts reaches ports of pods, also those that listen on loopback only.
type podPorts interface {
	// get gets pages of a pod over HTTP, one after the other.
	get(ctx context.Context, pod *v1.Pod, port uint16, paths ...string) ([][]byte, error)
}

// portForward reaches ports as kubectl port-forward does, with the rights of the caller. It opens no port
// on this machine.
type portForward struct {
	client kubernetes.Interface
	config *rest.Config
}

func (p portForward) get(ctx context.Context, pod *v1.Pod, port uint16, paths ...string) ([][]byte, error) {
	ctx, idle := withIdleTimeout(ctx, podTimeout)
	defer idle.stop()
	conn, err := p.dial(ctx, pod)
	if err != nil {
		return nil, fmt.Errorf("connecting to pod %s: %w", pod.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // what waits for the pod fails then
	answers := make([][]byte, 0, len(paths))
	for i, path := range paths {
		answer, err := request(conn, i, port, path, idle)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return answers, fmt.Errorf("getting %s of pod %s, port %d: %w", path, pod.Name, port, err)
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// errNoAnswer returns the error of a pod that does not answer in time.
func errNoAnswer(timeout time.Duration) error { return fmt.Errorf("no answer within %v", timeout) }

// errSlow is the error of a pod that has sent something, but not all.
var errSlow = fmt.Errorf("the answer was not read to its end within %v: the link is slow", maxPodTime)

// idleTimeout ends a context when nothing was received for a time.
type idleTimeout struct {
	time   time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// withIdleTimeout returns a context that ends when the result has received nothing for that time. The
// caller must call stop.
func withIdleTimeout(ctx context.Context, timeout time.Duration) (context.Context, *idleTimeout) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &idleTimeout{timeout, time.AfterFunc(timeout, func() { cancel(errNoAnswer(timeout)) }), cancel}
}

func (t *idleTimeout) stop() {
	t.timer.Stop()
	t.cancel(nil)
}

// of returns a stream whose bytes count as received.
func (t *idleTimeout) of(stream io.ReadWriter) io.ReadWriter { return &timedStream{stream, t} }

type timedStream struct {
	io.ReadWriter
	idle *idleTimeout
}

func (s *timedStream) Read(b []byte) (int, error) {
	n, err := s.ReadWriter.Read(b)
	if n > 0 {
		s.idle.timer.Reset(s.idle.time)
	}
	return n, err
}

// dial connects to the API server, which connects to the kubelet: by WebSocket, or if a proxy on the way or an
// old API server does not know that, by SPDY.
func (p portForward) dial(ctx context.Context, pod *v1.Pod) (httpstream.Connection, error) {
	url := p.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(p.config)
	if err != nil {
		return nil, err
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, p.config)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	dialer := portforward.NewFallbackDialerForStreaming(tunnel, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	type result struct {
		conn httpstream.Connection
		err  error
	}
	dialled := make(chan result, 1)
	go func() { // Dial has no context; it ends when the API server answers or the connection breaks
		conn, _, err := dialer.Dial(portForwardProtocol)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-ctx.Done():
		go func() {
			if r := <-dialled; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// request gets a page over a pair of streams of its own.
func request(conn httpstream.Connection, id int, port uint16, path string, idle *idleTimeout) (answer []byte, err error) {
	err = withStream(conn, id, port, func(data io.ReadWriter) error {
		answer, err = exchange(idle.of(data), path)
		return err
	})
	return answer, err
}

// withStream calls use with a stream to a port. It is one of a pair: the other one has an error of the kubelet.
func withStream(conn httpstream.Connection, id int, port uint16, use func(io.ReadWriter) error) error {
	header := http.Header{}
	header.Set(v1.PortHeader, strconv.Itoa(int(port)))
	header.Set(v1.PortForwardRequestIDHeader, strconv.Itoa(id))
	header.Set(v1.StreamType, v1.StreamTypeError)
	failures, err := conn.CreateStream(header)
	if err != nil {
		return err
	}
	defer conn.RemoveStreams(failures)
	_ = failures.Close() // nothing is written to it
	header.Set(v1.StreamType, v1.StreamTypeData)
	data, err := conn.CreateStream(header)
	if err != nil {
		return err
	}
	defer conn.RemoveStreams(data)
	err = use(data)
	_ = data.Reset() // so that the kubelet ends the other stream, too
	if err == nil {
		return nil
	}
	if text, _ := io.ReadAll(io.LimitReader(failures, 4096)); len(text) > 0 {
		return errors.New(string(bytes.TrimSpace(text)))
	}
	return err
}

// exchange sends a request, and returns the body of the answer.
func exchange(stream io.ReadWriter, path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Accept-Encoding", "gzip")
	request.Close = true
	if err := request.Write(stream); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(stream), request)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	var plain io.Reader = response.Body
	if response.Header.Get("Content-Encoding") == "gzip" {
		if plain, err = gzip.NewReader(response.Body); err != nil {
			return nil, fmt.Errorf("decompressing the answer: %w", err)
		}
	}
	body, err := io.ReadAll(io.LimitReader(plain, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return body, err
}

// withoutState asks for plans without their states. With many Services a state is large, and only a
// simulation and a support bundle need it.
type withoutState struct{ podPorts }

func (p withoutState) get(ctx context.Context, pod *v1.Pod, port uint16, paths ...string) ([][]byte, error) {
	paths = slices.Clone(paths)
	for i, path := range paths {
		if path == debugapi.PlanPath {
			paths[i] = path + "?" + debugapi.WithoutState
		}
	}
	return p.podPorts.get(ctx, pod, port, paths...)
}
