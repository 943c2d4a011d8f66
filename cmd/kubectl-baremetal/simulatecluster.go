package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

// clusterOf returns what a simulation needs to know of a cluster.
func clusterOf(in *diagnose.Input, staying map[string]bool) (simulate.Cluster, error) {
	c := simulate.Cluster{Endpoints: map[string]map[string]simulate.Endpoints{}}
	var problems []error
	for _, s := range in.Speakers {
		switch {
		case s.Problem != "":
			problems = append(problems, fmt.Errorf("the speaker of node %s: %s", s.Node(), s.Problem))
			continue
		case s.Plan == nil || s.Plan.State == nil:
			problems = append(problems, fmt.Errorf("the speaker of node %s has no plan yet", s.Node()))
			continue
		}
		state, err := plandoc.ToState(s.Plan.State)
		if err != nil {
			return c, err
		}
		c.States = append(c.States, state)
		c.IgnoresLabel = c.IgnoresLabel || ignoresLabel(s.Pod)
	}
	if len(c.States) == 0 {
		return c, errors.Join(append([]error{errors.New("no speaker has said what it does, so nothing can be simulated")}, problems...)...)
	}
	for name, endpointSlices := range bySlices(in.EndpointSlices) {
		c.Endpoints[name] = endpointsOf(endpointSlices, staying)
	}
	for _, svc := range in.Services {
		if name := service.Name(svc); c.Endpoints[name] == nil && len(in.EndpointSlices) > 0 {
			c.Endpoints[name] = map[string]simulate.Endpoints{}
		}
	}
	return c, nil
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
