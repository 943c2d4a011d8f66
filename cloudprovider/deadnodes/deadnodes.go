// Package deadnodes tells Kubernetes within a second that a node is dead. Kubernetes' own node
// controller needs some 50 s for that, and kube-proxy sends connections to the pods of the node
// until then.
//
// The speakers detect that the kernel of a node is dead, and the cluster manager asks three of
// them. If they agree, it sets the condition Ready of the node's pods to False, as the node
// controller does later (MarkPodsNotReady in k8s.io/kubernetes/pkg/controller/util/node). The
// endpoints of all Services follow. The rules are in decide.go.
package deadnodes

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Events on Nodes.
const (
	EventReported = "NodeReportedDead"
	EventWithheld = "NodeReportWithheld"
)

const (
	// firstRetry is after how long a node is asked about again, if the speakers do not agree. It
	// doubles up to lastRetry.
	firstRetry, lastRetry = 50 * time.Millisecond, time.Second
	// sayAfter is how long the speakers have to agree until an Event says that they do not, and
	// how long a false report of a second node can last without preventing that of the first.
	sayAfter = 2 * time.Second
)

// Node is a node of the cluster.
type Node struct {
	Name string
	// Addr is its InternalIP, at which its speaker listens.
	Addr netip.Addr
	// Ready says whether the condition Ready of the Node is True.
	Ready bool
	// Speaker says whether the node has a speaker.
	Speaker bool
}

// Options of a Reporter.
type Options struct {
	// Client reads the speakers' key and Leases, lists pods and writes their statuses. It
	// should have limits of its own, because it writes hundreds of statuses at once.
	Client kubernetes.Interface
	// Namespace is that of the Secret with the speakers' key.
	Namespace string
	// Port is the port at which the speakers serve their metrics.
	Port uint16
	// Nodes returns all Node objects. The caller of Nodes does not change the result.
	Nodes func() []Node
	// Events writes Events. It must not block.
	Events  Eventer
	Metrics *Metrics
	Log     *slog.Logger
}

// Eventer writes Events.
type Eventer interface {
	Eventf(object runtime.Object, eventType, reason, format string, args ...any)
}

// Reporter finds dead nodes and marks their pods.
type Reporter struct {
	options Options
	log     *slog.Logger
	watch   *watch
	cases   map[string]*deadCase // by the name of the node
	past    []past
	able    bool // enough speakers answer
	// retryMark is how long after a failure the pods that are still ready are marked again.
	retryMark time.Duration
}

// deadCase is a node that a speaker reports dead.
type deadCase struct {
	since   time.Time
	decided bool   // nothing is done any more until the node is alive
	said    Reason // the reason of the last Event
	retry   time.Duration
	// settling is since when the reason could be gone in a moment.
	settling time.Time
	report   *begunReport // nil until it was decided to report the node
}

// wait returns after how long something is done about a node again.
func (r *Reporter) wait(c *deadCase) time.Duration {
	if c.report != nil {
		return r.retryMark
	}
	c.retry = min(max(2*c.retry, firstRetry), lastRetry)
	return c.retry
}

// New returns a Reporter that has asked no speaker yet.
func New(o Options) *Reporter {
	k := &keys{client: o.Client, namespace: o.Namespace}
	return &Reporter{options: o, log: o.Log, watch: newWatch(o.Nodes, o.Port, k, o.Log), cases: map[string]*deadCase{}, retryMark: 5 * time.Second}
}

// Run reports dead nodes until ctx ends. Only the leader may run it. It returns nil.
func (r *Reporter) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.watch.run(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.watch.changed.C():
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		next := r.look(ctx)
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// look decides about every node that a speaker reports dead. It returns after how long it has
// to be called again; 0 if only a change needs it.
func (r *Reporter) look(ctx context.Context) (next time.Duration) {
	dead, voices := r.watch.reported()
	r.options.Metrics.setSpeakers(voices)
	if able := voices >= agree; able != r.able {
		r.able = able
		r.log.Info("number of speakers that tell which nodes are dead has changed", "speakers", voices, "enough", able)
	}
	r.update(dead, voices)
	for _, node := range dead {
		c := r.cases[node]
		if c.decided || ctx.Err() != nil {
			continue
		}
		if c.report != nil {
			r.goOn(ctx, node, c, dead)
		} else {
			r.carryOut(ctx, node, c, decide(r.situation(ctx, node, dead)))
		}
		if !c.decided {
			if wait := r.wait(c); next == 0 || wait < next {
				next = wait
			}
		}
	}
	return next
}

// update begins cases for new reports, and ends the cases of nodes that are alive again.
func (r *Reporter) update(dead []string, voices int) {
	for _, node := range dead {
		if r.cases[node] == nil {
			r.cases[node] = &deadCase{since: time.Now()}
			r.log.Info("a speaker reports a dead node", "node", node)
		}
	}
	for node := range r.cases {
		if voices > 0 && !slices.Contains(dead, node) {
			delete(r.cases, node)
			r.log.Info("no speaker reports the node dead any more", "node", node)
		}
	}
	r.past = slices.DeleteFunc(r.past, func(p past) bool { return time.Since(p.at) > memory })
}

// situation asks the speakers, and gathers what the decision depends on.
func (r *Reporter) situation(ctx context.Context, node string, dead []string) situation {
	s := situation{node: node, now: time.Now(), dead: dead, past: r.past}
	for _, n := range r.options.Nodes() {
		if n.Speaker || n.Name == node {
			s.speakers++
		}
		if n.Name == node {
			s.exists, s.ready = true, n.Ready
		}
	}
	if _, ok := s.limits(); ok {
		s.seenAlive = r.watch.seenAlive(node) // before ask, which can have the answer of a speaker that does not know yet
		var also []string
		s.said, also = r.watch.ask(ctx, node, dead)
		// Other nodes may have died while the speakers were asked, from the same cause.
		now, _ := r.watch.reported()
		s.dead = slices.Concat(dead, now, also)
		if !s.seenAlive {
			s.renewed = r.renewed(ctx, node)
		}
	}
	s.now = time.Now()
	return s
}

// renewed returns when the kubelet of a node has renewed its Lease; the zero Time if the Lease
// cannot be read.
func (r *Reporter) renewed(ctx context.Context, node string) time.Time {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	lease, err := r.options.Client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		r.log.Warn("the Lease of a dead node cannot be read", "node", node, "error", err)
		return time.Time{}
	}
	if lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

// carryOut does what was decided about a node.
func (r *Reporter) carryOut(ctx context.Context, node string, c *deadCase, v verdict) {
	late := time.Since(c.since) >= sayAfter
	switch {
	case v.action != settle:
		c.settling = time.Time{}
	case c.settling.IsZero():
		c.settling = time.Now()
	}
	switch v.action {
	case report:
		r.log.Warn("node is dead, its pods become not ready", "node", node, "text", v.text)
		c.report = &begunReport{text: v.text, at: time.Now()}
		r.mark(ctx, node, c)
	case withhold:
		c.decided = true
		r.withheld(node, c, v)
	case ignore:
		c.decided = true
		r.log.Info("dead node ignored", "node", node, "reason", v.reason, "text", v.text)
	case settle:
		if time.Since(c.settling) >= sayAfter {
			c.decided = true
			r.withheld(node, c, v)
		}
	case wait:
		if late {
			r.withheld(node, c, v)
		}
	}
}

// withheld says, once for each reason, why a node is not reported.
func (r *Reporter) withheld(node string, c *deadCase, v verdict) {
	if c.said == v.reason {
		return
	}
	c.said = v.reason
	r.log.Warn("dead node not reported", "node", node, "reason", v.reason, "text", v.text)
	r.options.Metrics.withhold(v.reason)
	r.options.Events.Eventf(reference(node), v1.EventTypeWarning, EventWithheld, "A speaker says that the node is dead, but its pods are not touched. %s", v.text)
}

// reference names a Node for an Event. The UID is the name, as in the Events of the kubelet, so
// that kubectl describe shows them.
func reference(node string) *v1.ObjectReference {
	return &v1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: node, UID: types.UID(node)}
}
