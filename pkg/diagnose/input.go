// Package diagnose says what is the case in a cluster, what is wrong there, and what to do. Its
// input is the objects of the API server, and the documents of the speakers and cluster managers.
// It asks nothing and prints nothing.
package diagnose

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Input is everything that is known.
type Input struct {
	Now       time.Time
	ConfigMap configmap.Ref
	// Scope says which Services are served.
	Scope service.Scope

	Services       []*v1.Service
	EndpointSlices []*discoveryv1.EndpointSlice
	Nodes          []*v1.Node
	// DaemonSet is that of the speakers; nil if there is none, or if it could not be read.
	DaemonSet *appsv1.DaemonSet
	// Lease is that of the leading cluster manager; nil if there is none.
	Lease *coordinationv1.Lease
	// Config is the ConfigMap of the operator, and InUse the one that the cluster manager
	// publishes; nil if it does not exist.
	Config, InUse *v1.ConfigMap
	// Events are about Services, Nodes and the ConfigMap.
	Events []*v1.Event
	// Unknown are the inputs that could not be read, and why. Their values are empty, which says
	// nothing about the cluster.
	Unknown []Unknown

	Speakers []Speaker
	Managers []Manager
}

// Unknown is an input that could not be read. What begins with the kind of its objects: "Services",
// or "ConfigMap NAMESPACE/NAME".
type Unknown struct{ What, Why string }

// Unread returns why an input could not be read; "" if it was.
func (in *Input) Unread(what string) string {
	for _, u := range in.Unknown {
		if u.What == what || strings.HasPrefix(u.What, what+" ") {
			return cmp.Or(u.Why, "unknown")
		}
	}
	return ""
}

// Speaker is a pod of a speaker, and its documents.
type Speaker struct {
	Pod *v1.Pod
	// Problem says why documents are missing; empty if there are all.
	Problem string
	// The documents are nil if they are missing.
	Plan    *debugapi.Plan
	BGP     *debugapi.BGP
	Spread  *debugapi.Spread
	Members *debugapi.Members
}

// Node returns the name of the speaker's node.
func (s *Speaker) Node() string { return s.Pod.Spec.NodeName }

// Manager is a pod of a cluster manager, and its document.
type Manager struct {
	Pod     *v1.Pod
	Problem string
	// Silent is set if it serves no document, because its flags say so.
	Silent bool
	// Allocations is nil if the document is missing.
	Allocations *debugapi.Allocations
}

// facts are conclusions from the Input that many checks need.
type facts struct {
	*Input
	// parsed is the configuration in the operator's ConfigMap; nil if it is refused. refused
	// says why. hash identifies its text.
	parsed  *config.Config
	refused error
	text    string
	hash    string
	// leader is the document of the leading cluster manager; nil if there is none.
	leader *debugapi.Allocations
	// expected is the hash of the configuration that all programs should use; empty if it
	// is not known.
	expected string
	// decisions are what the speakers say about each VIP, by the names of their nodes.
	decisions map[netip.Addr]map[string]debugapi.Decision
	slices    map[string][]*discoveryv1.EndpointSlice // by namespace/name of the Service
	// nodes are the Nodes, and those nodes of speakers whose Nodes are not known.
	nodes []*v1.Node
	// dead are the nodes that do not answer, by the word of the speakers.
	dead map[string]bool
}

func newFacts(in *Input) *facts {
	f := &facts{Input: in, decisions: map[netip.Addr]map[string]debugapi.Decision{}, slices: map[string][]*discoveryv1.EndpointSlice{}}
	if in.Config != nil {
		f.text = in.Config.Data[configmap.Key]
		if f.parsed, f.refused = config.Parse([]byte(f.text)); f.refused == nil {
			f.hash = configmap.Hash(f.text)
		}
	}
	for _, m := range in.Managers {
		if m.Allocations != nil && m.Allocations.Leader {
			f.leader = m.Allocations
		}
	}
	if f.expected = f.hash; f.leader != nil && f.leader.Config.Hash != "" {
		f.expected = f.leader.Config.Hash
	}
	for _, s := range in.Speakers {
		if s.Plan == nil {
			continue
		}
		for _, d := range s.Plan.Decisions {
			if f.decisions[d.VIP] == nil {
				f.decisions[d.VIP] = map[string]debugapi.Decision{}
			}
			f.decisions[d.VIP][s.Node()] = d
		}
	}
	for _, s := range in.EndpointSlices {
		name := s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
		f.slices[name] = append(f.slices[name], s)
	}
	f.nodes = allNodes(in)
	f.dead = f.deadNodes()
	return f
}

// allNodes returns the Nodes, and a Node for each speaker whose Node is not known. Nothing bad is known
// about such a node, so it counts as ready.
func allNodes(in *Input) []*v1.Node {
	all := slices.Clone(in.Nodes)
	for _, s := range in.Speakers {
		if !slices.ContainsFunc(all, func(n *v1.Node) bool { return n.Name == s.Node() }) {
			all = append(all, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Node()}, Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}})
		}
	}
	slices.SortStableFunc(all, func(a, b *v1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// node returns the Node of that name; nil for none.
func (f *facts) node(name string) *v1.Node {
	i := slices.IndexFunc(f.nodes, func(n *v1.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return f.nodes[i]
}

// vips returns the addresses that a speaker knows, in order.
func (f *facts) vips() []netip.Addr {
	return slices.SortedFunc(maps.Keys(f.decisions), netip.Addr.Compare)
}

// ours returns the Services that are served and not being deleted, in the order of their names.
func (f *facts) ours() (services []*v1.Service) {
	for _, svc := range f.Services {
		if f.Scope.Ours(svc) && svc.DeletionTimestamp == nil {
			services = append(services, svc)
		}
	}
	slices.SortFunc(services, func(a, b *v1.Service) int { return cmp.Compare(service.Name(a), service.Name(b)) })
	return services
}

// allocation returns what the leading cluster manager says about a Service; nil for nothing.
func (f *facts) allocation(name string) *debugapi.ServiceAllocation {
	if f.leader == nil {
		return nil
	}
	i := slices.IndexFunc(f.leader.Services, func(s debugapi.ServiceAllocation) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &f.leader.Services[i]
}

// speaker returns the speaker of a node; nil for none.
func (f *facts) speaker(node string) *Speaker {
	i := slices.IndexFunc(f.Speakers, func(s Speaker) bool { return s.Node() == node })
	if i < 0 {
		return nil
	}
	return &f.Speakers[i]
}

// decision returns what the speakers decide about a VIP: by the word of a speaker that announces
// it, or else of the first one that is not fenced. by is the node of that speaker.
func (f *facts) decision(vip netip.Addr) (d debugapi.Decision, by string, ok bool) {
	said := f.decisions[vip]
	best := -1
	for _, s := range f.Speakers {
		candidate, exists := said[s.Node()]
		if !exists {
			continue
		}
		rank := 0
		switch {
		case candidate.Reason == reasonOwner, candidate.Reason == reasonConflict:
			rank = 2
		case s.Plan.Fenced == "":
			rank = 1
		}
		if rank > best {
			best, d, by, ok = rank, candidate, s.Node(), true
		}
	}
	return d, by, ok
}

// isReady reports whether a pod is ready.
func isReady(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.PodReady && c.Status == v1.ConditionTrue
	})
}

// isNodeReady reports whether a Node is ready.
func isNodeReady(n *v1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c v1.NodeCondition) bool {
		return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue
	})
}

// whyNotReady says in words why a pod is not ready.
func whyNotReady(pod *v1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			text := c.State.Waiting.Reason
			if last := c.LastTerminationState.Terminated; last != nil {
				text += ", the last end was " + cmp.Or(last.Reason, "unknown")
				if message := firstLine(last.Message); message != "" {
					text += ": " + message
				}
			} else if message := firstLine(c.State.Waiting.Message); message != "" {
				text += ": " + message
			}
			return text
		case c.State.Terminated != nil:
			return "the container has ended: " + cmp.Or(c.State.Terminated.Reason, "unknown")
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodScheduled && c.Status != v1.ConditionTrue {
			return cmp.Or(c.Message, "it is not scheduled")
		}
	}
	if pod.Status.Phase != v1.PodRunning {
		return "its phase is " + cmp.Or(string(pod.Status.Phase), "unknown")
	}
	return "its readiness probe fails"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
