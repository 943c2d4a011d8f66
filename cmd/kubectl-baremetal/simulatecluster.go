package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

// clusterOf returns what a simulation needs to know of a cluster, and what is missing there. version is
// that of this plugin.
func clusterOf(in *diagnose.Input, staying map[string]bool, version string) (simulate.Cluster, error) {
	c := simulate.Cluster{Endpoints: map[string]map[string]simulate.Endpoints{}}
	others := map[string]bool{}
	for i := range in.Speakers {
		s := &in.Speakers[i]
		if why := whyNoState(s); why != "" {
			text := fmt.Sprintf("The speaker of node %s did not say what it does: %s.", s.Node(), strings.TrimSuffix(why, "."))
			if isReadyNode(in, s.Node()) {
				c.Incomplete = append(c.Incomplete, text+" What this node advertises over BGP is missing here.")
			} else {
				c.Notes = append(c.Notes, text+" Kubernetes says that the node is not ready.")
			}
			continue
		}
		state, err := plandoc.ToState(s.Plan.State)
		if err != nil {
			return c, err
		}
		if vip, differs := predictsOtherwise(state, s.Plan.Decisions); differs {
			c.Incomplete = append(c.Incomplete, fmt.Sprintf("The speaker of node %s decides about %s in another way than this plugin, so the result can be wrong. Use the plugin of its version, %s.", s.Node(), vip, s.Plan.ProgramVersion))
		}
		if s.Plan.ProgramVersion != version {
			others[s.Plan.ProgramVersion] = true
		}
		c.States = append(c.States, state)
		c.IgnoresLabel = c.IgnoresLabel || ignoresLabel(s.Pod)
	}
	if len(c.States) == 0 {
		return c, fmt.Errorf("no speaker has said what it does, so nothing can be simulated. %s", strings.Join(slices.Concat(c.Incomplete, c.Notes), " "))
	}
	if len(others) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("Speakers have the version %s, and this plugin has %s. The speakers may decide in another way.", strings.Join(slices.Sorted(maps.Keys(others)), ", "), version))
	}
	for _, what := range []string{"Services", "EndpointSlices"} {
		if why := in.Unread(what); why != "" {
			c.Incomplete = append(c.Incomplete, fmt.Sprintf("The %s could not be read: %s. A Service can lose its last endpoint without a word here.", what, strings.TrimSuffix(why, ".")))
		}
	}
	for name, endpointSlices := range bySlices(in.EndpointSlices) {
		c.Endpoints[name] = endpointsOf(endpointSlices, staying)
	}
	for _, svc := range in.Services {
		if name := service.Name(svc); c.Endpoints[name] == nil && in.Unread("EndpointSlices") == "" {
			c.Endpoints[name] = map[string]simulate.Endpoints{}
		}
	}
	return c, nil
}

// whyNoState says why the state of a speaker is not known; "" if it is.
func whyNoState(s *diagnose.Speaker) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case s.Plan == nil:
		return "it has no plan yet"
	case s.Plan.State == nil:
		return cmp.Or(s.Plan.Problem, "it has no plan yet")
	}
	return ""
}

// isReadyNode reports whether a node is ready, or nothing bad is known about it.
func isReadyNode(in *diagnose.Input, name string) bool {
	i := slices.IndexFunc(in.Nodes, func(n *v1.Node) bool { return n.Name == name })
	return i < 0 || !slices.ContainsFunc(in.Nodes[i].Status.Conditions, func(c v1.NodeCondition) bool {
		return c.Type == v1.NodeReady && c.Status != v1.ConditionTrue
	})
}

// predictsOtherwise makes the plan of an unchanged state, and returns an address about which it differs
// from what the speaker has decided.
func predictsOtherwise(state plan.State, said []debugapi.Decision) (vip netip.Addr, differs bool) {
	made := plan.Make(state, plan.Plan{}).Decisions
	for i, d := range made {
		if i >= len(said) || said[i].VIP != d.VIP || said[i].Owner != d.Owner || said[i].Reason != string(d.Reason) || said[i].BGP != string(d.BGP) || said[i].Spread != string(d.Spread) {
			return d.VIP, true
		}
	}
	if len(said) > len(made) {
		return said[len(made)].VIP, true
	}
	return netip.Addr{}, false
}

// ignoresLabel reports whether a speaker runs with --ignore-exclude-label.
func ignoresLabel(pod *v1.Pod) bool {
	const name = "ignore-exclude-label"
	if value, ok := flagOf(pod, speakerProgram, name); ok {
		return value == "true"
	}
	c := container(pod, speakerProgram)
	return c != nil && slices.Contains(slices.Concat(c.Command, c.Args), "--"+name)
}

// bySlices returns the EndpointSlices of each Service, by namespace/name.
func bySlices(all []*discoveryv1.EndpointSlice) map[string][]*discoveryv1.EndpointSlice {
	byService := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range all {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			byService[s.Namespace+"/"+name] = append(byService[s.Namespace+"/"+name], s)
		}
	}
	return byService
}

// endpointsOf returns the endpoints of a Service by node. staying are the pods that a drain leaves.
func endpointsOf(all []*discoveryv1.EndpointSlice, staying map[string]bool) map[string]simulate.Endpoints {
	byNode := map[string]simulate.Endpoints{}
	for node, n := range service.EndpointCounts(all) {
		byNode[node] = simulate.Endpoints{Ready: n}
	}
	if len(byNode) == 0 && service.HasEndpoint(all) {
		byNode[""] = simulate.Endpoints{Ready: 1} // it is on no node, so it stays
	}
	var left []*discoveryv1.EndpointSlice
	for _, s := range all {
		s = s.DeepCopy()
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool {
			return e.TargetRef == nil || !staying[e.TargetRef.Namespace+"/"+e.TargetRef.Name]
		})
		left = append(left, s)
	}
	for node, n := range service.EndpointCounts(left) {
		byNode[node] = simulate.Endpoints{Ready: byNode[node].Ready, Staying: n}
	}
	return byNode
}

// podsThatStay returns the pods that a drain leaves on the nodes, by namespace/name: those of
// DaemonSets and static pods.
func podsThatStay(ctx context.Context, client kubernetes.Interface, nodes []string) (map[string]bool, error) {
	staying := map[string]bool{}
	for _, node := range nodes {
		pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
		if err != nil {
			return nil, fmt.Errorf("listing the pods of node %s: %w", node, err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			owner := metav1.GetControllerOf(pod)
			if _, static := pod.Annotations[v1.MirrorPodAnnotationKey]; pod.Spec.NodeName == node && (static || owner != nil && owner.Kind == "DaemonSet") {
				staying[pod.Namespace+"/"+pod.Name] = true
			}
		}
	}
	return staying, nil
}
