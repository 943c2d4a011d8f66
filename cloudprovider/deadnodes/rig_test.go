package deadnodes

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

// rig is a Reporter with speakers on addresses of the loopback interface, and a fake API server.
type rig struct {
	t        *testing.T
	client   *fake.Clientset
	reporter *Reporter
	port     uint16
	key      []byte

	mu       sync.Mutex
	nodes    []Node
	speakers map[string]*fakeSpeaker
	events   []string
	log      bytes.Buffer
}

// Write appends a line to the log.
func (r *rig) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *rig) logs() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// fakeSpeaker answers like a speaker.
type fakeSpeaker struct {
	node, key string
	server    *httptest.Server

	mu      sync.Mutex
	answer  speakerapi.Answer
	changed chan struct{}
	// asked counts the requests, and accepted those with the right key.
	asked, accepted int
}

// newRig returns a rig with a speaker on each of n nodes, node1, node2, …. The Reporter does not
// run yet.
func newRig(t *testing.T, n int, objects ...runtime.Object) *rig {
	t.Helper()
	secret := memberkey.New("baremetal-system")
	r := &rig{t: t, client: fake.NewClientset(append(objects, secret)...), key: secret.Data[memberkey.DataKey], speakers: map[string]*fakeSpeaker{}}
	for i := 1; i <= n; i++ {
		name, addr := fmt.Sprint("node", i), netip.AddrFrom4([4]byte{127, 0, 5, byte(i)})
		r.speak(name, addr)
		r.nodes = append(r.nodes, Node{Name: name, Addr: addr, Ready: true, Speaker: true})
	}
	r.reporter = New(Options{
		Client: r.client, Namespace: "baremetal-system", Port: r.port, Events: r, Metrics: NewMetrics(), Log: slog.New(slog.NewTextHandler(r, nil)),
		Nodes: func() []Node { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.nodes) },
	})
	return r
}

// speak starts a speaker. All speakers have the same port.
func (r *rig) speak(node string, addr netip.Addr) {
	r.t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(addr, r.port).String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.port = uint16(listener.Addr().(*net.TCPAddr).Port)
	s := &fakeSpeaker{node: node, key: string(r.key), changed: make(chan struct{}), answer: speakerapi.Answer{Node: node, Change: 1}}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.server.Listener.Close()
	s.server.Listener = listener
	s.server.StartTLS()
	r.t.Cleanup(s.stop)
	r.speakers[node] = s
}

func (s *fakeSpeaker) stop() {
	s.say(func(*speakerapi.Answer) {}) // ends the requests that wait
	s.server.CloseClientConnections()
	s.server.Close()
}

// say changes what the speaker answers.
func (s *fakeSpeaker) say(change func(*speakerapi.Answer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.answer)
	s.answer.Change++
	close(s.changed)
	s.changed = make(chan struct{})
}

func dead(names ...string) func(*speakerapi.Answer) {
	return func(a *speakerapi.Answer) { a.Dead = names }
}

func (s *fakeSpeaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	channel, err := speakerapi.Bind(r.TLS)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	key, answer, changed := s.key, s.answer, s.changed
	s.asked++
	s.mu.Unlock()
	signed, ok := channel.VerifyRequest([][]byte{[]byte(key)}, r.RequestURI, r.Header.Get(speakerapi.RequestHeader))
	if !ok {
		http.Error(w, "wrong key", http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.accepted++
	s.mu.Unlock()
	if strconv.FormatUint(answer.Change, 10) == r.URL.Query().Get("after") {
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		s.mu.Lock()
		answer = s.answer
		s.mu.Unlock()
	}
	body, err := answer.Format()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set(speakerapi.AnswerHeader, channel.Answer(signed, r.RequestURI, body))
	_, _ = w.Write(body) // fails only if the client has gone
}

// allSay changes what all speakers answer, except those on the nodes that are named.
func (r *rig) allSay(change func(*speakerapi.Answer), except ...string) {
	for name, s := range r.speakers {
		if !slices.Contains(except, name) {
			s.say(change)
		}
	}
}

// run runs the Reporter until the test ends, and waits until n speakers answer it.
func (r *rig) run(n int) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.reporter.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	r.eventually("the speakers answer", func() bool { _, voices := r.reporter.watch.reported(); return voices == n })
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s; events %q", what, r.texts())
		}
	}
}

// Eventf notes an Event.
func (r *rig) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ref := object.(*v1.ObjectReference)
	r.events = append(r.events, ref.Kind+" "+ref.Name+" "+eventType+" "+reason+": "+fmt.Sprintf(format, args...))
}

func (r *rig) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// event waits for the n-th Event, and checks its text.
func (r *rig) event(n int, wants ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprint("Event ", n), func() bool { return len(r.texts()) >= n })
	for _, want := range wants {
		if got := r.texts()[n-1]; !strings.Contains(got, want) {
			r.t.Errorf("Event %d is %q, want %q", n, got, want)
		}
	}
}

// pod returns a pod of a node whose condition Ready has this status.
func pod(name, node string, ready v1.ConditionStatus) *v1.Pod {
	at := metav1.NewTime(time.Unix(1_700_000_000, 0))
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)},
		Spec:       v1.PodSpec{NodeName: node},
		Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{
			{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: at},
			{Type: v1.ContainersReady, Status: ready, LastTransitionTime: at},
			{Type: v1.PodReady, Status: ready, LastTransitionTime: at},
		}},
	}
}

// condition returns the condition Ready of a pod, or the zero value.
func (r *rig) condition(name string) v1.PodCondition {
	r.t.Helper()
	p, err := r.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c
		}
	}
	return v1.PodCondition{}
}

// patches returns how many statuses were written.
func (r *rig) patches() (n int) {
	for _, action := range r.client.Actions() {
		if action.Matches("patch", "pods/status") {
			n++
		}
	}
	return n
}
