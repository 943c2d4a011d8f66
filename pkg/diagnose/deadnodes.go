package diagnose

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// deadNodes returns the nodes that are dead, by the word of the speakers that answer. The other
// problems of such a node are effects.
func (f *facts) deadNodes() map[string]bool {
	dead := map[string]bool{}
	for _, n := range f.nodes {
		s := f.speaker(n.Name)
		if s == nil || s.Problem == "" || !runs(s.Pod) && isNodeReady(n) {
			continue // a kubelet that says that a container does not run is alive
		}
		witnesses, alive, _ := f.witnesses(n)
		dead[n.Name] = witnesses > 0 && !alive
	}
	return dead
}

// witnesses returns how many speakers say something about a node, whether it is alive by the word of
// one of them, and whether its kernel is silent by the word of one of them. A fenced speaker hears
// nobody, so its word does not count while the API server says that the node is ready.
func (f *facts) witnesses(n *v1.Node) (count int, alive, kernelDead bool) {
	for i := range f.Speakers {
		s := &f.Speakers[i]
		if s.Node() == n.Name || s.Members == nil || s.Members.Problem != "" || s.Members.Self.Fenced != "" && isNodeReady(n) {
			continue
		}
		count++
		if m := s.member(n.Name); m != nil {
			alive = alive || m.Alive
			kernelDead = kernelDead || m.KernelDead
		}
	}
	return count, alive, kernelDead
}

// deadNodeProblems are about the nodes that are dead.
func (f *facts) deadNodeProblems() (problems []Problem) {
	for _, n := range f.nodes {
		if !f.dead[n.Name] {
			continue
		}
		p := Problem{Warning, "NodeDead", "node " + n.Name, "it does not answer: its speaker gives no document, and no other speaker hears it",
			"See whether the node runs: its power, its console, kubectl get node " + n.Name + ". Then look at its network. If it runs, read the log of its speaker there"}
		if _, _, kernelDead := f.witnesses(n); kernelDead {
			p.What += ". Its kernel is silent on all links"
		}
		if !isNodeReady(n) {
			p.What += ". Kubernetes says that it is not ready"
		}
		switch left := f.decidedFor(n.Name); {
		case len(left) > 0:
			p.Severity = Error
			p.What += ". The other speakers still take it for the owner of " + names(left)
		case len(f.decisions) > 0:
			p.What += ". No address is left there: other nodes announce its addresses, if they may"
		}
		problems = append(problems, p)
	}
	return problems
}

// decidedFor returns the addresses that a node owns by the word of the speakers.
func (f *facts) decidedFor(node string) (vips []string) {
	for _, vip := range f.vips() {
		if d, _, ok := f.decision(vip); ok && d.Owner == node {
			vips = append(vips, vip.String())
		}
	}
	return vips
}

// runs reports whether all containers of a pod run, as the kubelet has said last.
func runs(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodRunning && !slices.ContainsFunc(pod.Status.ContainerStatuses, func(c v1.ContainerStatus) bool {
		return c.State.Waiting != nil || c.State.Terminated != nil
	})
}

// notReady says why a speaker's pod is not ready, and what to do.
func (f *facts) notReady(n *v1.Node, pod *v1.Pod) (what, do string) {
	if isNodeReady(n) {
		return whyNotReady(pod), f.logsOf(pod)
	}
	var texts []string
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady && c.Message != "" {
			texts = append(texts, firstLine(c.Message))
		}
	}
	return strings.TrimSuffix("the node is not ready: "+strings.Join(texts, "; "), ": "),
		fmt.Sprintf("Repair the node, or delete its Node object. See: kubectl describe node %s", n.Name) // its kubelet gives no logs
}
