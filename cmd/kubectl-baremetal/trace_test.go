package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// speakerOn returns the pod of a speaker.
func speakerOn(node string) diagnose.Speaker {
	return diagnose.Speaker{Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "speaker-" + node, Namespace: "baremetal-system"},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Name: "speaker", Command: []string{"/baremetal-speaker"}}}},
	}}
}

// answers are the answers of the speakers to a post, by their nodes. A speaker without one fails.
type answers map[string]string

func (a answers) post(_ context.Context, pod *v1.Pod, port uint16, path string, read func(io.Reader) error) error {
	text, ok := a[pod.Spec.NodeName]
	if !ok {
		return errors.New("no answer")
	}
	if port != 7473 || !strings.Contains(path, "address=192.0.2.7") {
		return fmt.Errorf("port %d, path %s", port, path)
	}
	return read(strings.NewReader(text))
}

// traced is what a speaker says about 192.0.2.7, which node2 announces.
func traced(t *testing.T, node string, found ...debugapi.Answer) string {
	t.Helper()
	d := debugapi.Trace{
		Header: debugapi.NewHeader(debugapi.TraceKind, "v1", time.Unix(1, 0)), Address: netip.MustParseAddr("192.0.2.7"), Services: []string{"default/web"},
		Pool: "main", Protocol: "layer2", Owner: "node2", Reason: "OtherOwner", Links: []debugapi.TraceLink{{Link: "eth0", MAC: "02:00:00:00:00:0" + node[4:], Answers: found}},
		Connections: []debugapi.Connection{{Protocol: "TCP", Port: 80, Outcome: debugapi.Open}, {Protocol: "UDP", Port: 53, Outcome: debugapi.NotTried}},
	}
	if d.Node = node; node == "node2" {
		d.Reason, d.Announces = "Owner", []string{"eth0"}
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var ownerAnswer = debugapi.Answer{MAC: "02:00:00:00:00:02", Node: "node2"}

func TestTraceShowsWhoAnswersEachNode(t *testing.T) {
	speakers := []diagnose.Speaker{speakerOn("node1"), speakerOn("node2"), speakerOn("node3")}
	got, err := traceFrom(t.Context(), answers{
		"node1": traced(t, "node1", ownerAnswer, debugapi.Answer{MAC: "02:00:00:00:00:cc"}), "node2": traced(t, "node2"),
	}, speakers, netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printTrace(&out, formatTable, got); !errors.Is(err, errProblems) {
		t.Errorf("%v", err)
	}
	want := `Address 192.0.2.7 (pool main, layer2)
Services: default/web
Announced by ARP or NDP by: node2

ASKED BY   LINK   WHO ANSWERS
node1      eth0   node2 (02:00:00:00:00:02), not a node of this cluster (02:00:00:00:00:cc)
node2      eth0   nobody else: this node announces it here
node3      -      unknown: no answer

CONNECTED FROM   TCP 80   UDP 53
node1            open     not tried
node2            open     not tried

2 PROBLEMS:
`
	if text := out.String(); !strings.HasPrefix(text, want) || !strings.Contains(text, "ERROR ForeignHost: address 192.0.2.7: ") || !strings.Contains(text, "WARNING NotTraced: node node3: ") {
		t.Errorf("printed\n%s\nwant\n%s", text, want)
	}
	out.Reset()
	var doc diagnose.Trace
	if err := printTrace(&out, formatJSON, got); !errors.Is(err, errProblems) || json.Unmarshal(out.Bytes(), &doc) != nil || len(doc.Problems) != 2 || len(doc.Nodes) != 3 {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestTraceWithoutProblemsIsASuccess(t *testing.T) {
	got, err := traceFrom(t.Context(), answers{"node1": traced(t, "node1", ownerAnswer), "node2": traced(t, "node2")}, []diagnose.Speaker{speakerOn("node1"), speakerOn("node2")}, netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printTrace(&out, formatTable, got); err != nil || !strings.HasSuffix(out.String(), "\nNo problems found.\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestTraceThatFindsOutNothingIsAnError(t *testing.T) {
	_, err := traceFrom(t.Context(), answers{}, []diagnose.Speaker{speakerOn("node1")}, netip.MustParseAddr("192.0.2.7"))
	if err == nil || !strings.Contains(err.Error(), "node1: no answer") {
		t.Errorf("%v", err)
	}
}

// stream is a connection to a pod: what is read was prepared, what is written is kept.
type stream struct {
	io.Reader
	mu      sync.Mutex
	written bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.Write(b)
}

func TestRefusedPostsHaveTheWordsOfThePod(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody":                             "",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 24\r\n\r\nthe address is in no poo": "the address is in no poo",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                          "too old",
		"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n":              "500",
		"nonsense": "reading the answer",
	} {
		s, body := &stream{Reader: strings.NewReader(answer)}, ""
		err := exchangePost(s, "/debug/trace?address=192.0.2.7", func(r io.Reader) error {
			text, err := io.ReadAll(r)
			body = string(text)
			return err
		})
		if want == "" && (err != nil || body != "body") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v", answer, body, err)
		}
		if got := s.written.String(); !strings.HasPrefix(got, "POST /debug/trace?address=192.0.2.7 HTTP/1.1\r\nHost: 127.0.0.1\r\n") {
			t.Errorf("sent %q", got)
		}
	}
}

func TestPostReachesThePodByPortForward(t *testing.T) {
	p, body := forwardTo(t, kubelet(t)), ""
	read := func(r io.Reader) error {
		text, err := io.ReadAll(r)
		body = string(text)
		return err
	}
	if err := p.post(t.Context(), aPod, 7473, "/debug/trace?address=192.0.2.7", read); err != nil || body != "/debug/trace" {
		t.Errorf("%q, %v", body, err)
	}
	if err := p.post(t.Context(), aPod, 1, "/debug/trace", read); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a closed port: %v", err)
	}
}

// hanging lets the pods of some nodes not answer.
type hanging struct{ dead map[string]bool }

func (h hanging) post(ctx context.Context, pod *v1.Pod, _ uint16, _ string, read func(io.Reader) error) error {
	if h.dead[pod.Spec.NodeName] {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	time.Sleep(3 * time.Second) // the time of a trace
	return read(strings.NewReader("{}"))
}

func TestDeadNodesDoNotHoldUpATrace(t *testing.T) {
	for dead, limit := range map[int]time.Duration{1: 20 * time.Second, 16: 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := hanging{map[string]bool{}}
			var speakers []diagnose.Speaker
			for i := range 40 {
				name := fmt.Sprintf("node%d", i)
				h.dead[name] = i < dead
				speakers = append(speakers, speakerOn(name))
			}
			began := time.Now()
			failures := postAll(t.Context(), h, speakers, "/", maxPodsAtOnce, traceTimeout, func(int, io.Reader) error { return nil })
			if took := time.Since(began); took > limit {
				t.Errorf("with %d dead nodes it took %v", dead, took)
			}
			for i, err := range failures {
				if (err != nil) != (i < dead) || err != nil && err.Error() != "no answer within 10s" {
					t.Errorf("node %d of %d dead ones: %v", i, dead, err)
				}
			}
		})
	}
}
