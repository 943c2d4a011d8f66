package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// maxPodsAtOnce is how many pods are asked at the same time.
const maxPodsAtOnce = 16

// The programs, by the base names of their commands, and where they serve their documents by default.
const (
	speakerProgram      = "baremetal-speaker"
	managerProgram      = "baremetal-cloud-controller-manager"
	speakerAddressFlag  = "health-address"
	speakerAddress      = "127.0.0.1:7473"
	managerAddressFlag  = "debug-address"
	managerDebugAddress = "127.0.0.1:7474"
)

// look reads everything that a diagnosis needs.
func (o *options) look(ctx context.Context, client kubernetes.Interface, ports podPorts) (*diagnose.Input, error) {
	return o.gather(ctx, client, withoutState{ports})
}

// gather reads everything that a diagnosis and a simulation need. What cannot be read is part of the result; the error says that
// nothing can be.
func (o *options) gather(ctx context.Context, client kubernetes.Interface, ports podPorts) (*diagnose.Input, error) {
	in, err := o.findPrograms(ctx, client)
	if err != nil {
		return nil, err
	}
	var work sync.WaitGroup
	work.Go(func() { readObjects(ctx, client, o, in) })
	work.Go(func() { readDocuments(ctx, ports, in.Speakers, in.Managers) })
	work.Wait()
	return in, nil
}

// findPrograms returns an input that has only the pods of the programs, and which Services they serve.
func (o *options) findPrograms(ctx context.Context, client kubernetes.Interface) (*diagnose.Input, error) {
	in := &diagnose.Input{Now: time.Now(), ConfigMap: o.configMap, Scope: o.scope}
	pods, err := client.CoreV1().Pods(o.configMap.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of namespace %s: %w", o.configMap.Namespace, err)
	}
	in.Speakers, in.Managers = programsOf(pods.Items)
	if isDefault(o.scope) && len(in.Managers) > 0 {
		in.Scope = scopeOf(in.Managers[0].Pod)
	}
	return in, nil
}

// programsOf returns the pods of the programs, in the order of their nodes and names.
func programsOf(pods []v1.Pod) (speakers []diagnose.Speaker, managers []diagnose.Manager) {
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.DeletionTimestamp != nil, pod.Status.Phase == v1.PodSucceeded, pod.Status.Phase == v1.PodFailed:
		case container(pod, speakerProgram) != nil && pod.Spec.NodeName != "":
			speakers = append(speakers, diagnose.Speaker{Pod: pod})
		case container(pod, managerProgram) != nil:
			managers = append(managers, diagnose.Manager{Pod: pod})
		}
	}
	slices.SortFunc(speakers, func(a, b diagnose.Speaker) int { return cmp.Compare(a.Node(), b.Node()) })
	slices.SortFunc(managers, func(a, b diagnose.Manager) int { return cmp.Compare(a.Pod.Name, b.Pod.Name) })
	return speakers, managers
}

// container returns the container of a pod that runs a program; nil for none.
func container(pod *v1.Pod, program string) *v1.Container {
	i := slices.IndexFunc(pod.Spec.Containers, func(c v1.Container) bool { return len(c.Command) > 0 && path.Base(c.Command[0]) == program })
	if i < 0 {
		return nil
	}
	return &pod.Spec.Containers[i]
}

// flagOf returns the value of a flag of a program in a pod, and whether the pod sets it.
func flagOf(pod *v1.Pod, program, name string) (value string, ok bool) {
	c := container(pod, program)
	if c == nil {
		return "", false
	}
	for _, arg := range slices.Concat(c.Command, c.Args) {
		if v, found := strings.CutPrefix(arg, "--"+name+"="); found {
			value, ok = v, true
		}
	}
	return value, ok
}

// portOf returns the port of an address flag of a program in a pod.
func portOf(pod *v1.Pod, program, name, byDefault string) (uint16, error) {
	address, ok := flagOf(pod, program, name)
	if !ok {
		address = byDefault
	}
	_, port, _ := strings.Cut(address[max(0, strings.LastIndex(address, ":")):], ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("it runs with --%s=%s, so it serves no documents", name, address)
	}
	return uint16(number), nil
}

func isDefault(s service.Scope) bool {
	d := service.DefaultScope()
	return s.Default == d.Default && slices.Equal(s.Classes, d.Classes)
}

// scopeOf returns which Services a cluster manager serves.
func scopeOf(pod *v1.Pod) service.Scope {
	s := service.DefaultScope()
	if value, ok := flagOf(pod, managerProgram, "default-load-balancer"); ok {
		s.Default = value == "true"
	}
	if value, ok := flagOf(pod, managerProgram, "load-balancer-class"); ok {
		s.Classes = strings.Split(value, ",")
	}
	return s
}

// readObjects reads the objects of the API server.
func readObjects(ctx context.Context, client kubernetes.Interface, o *options, in *diagnose.Input) {
	all, namespace := metav1.ListOptions{}, o.configMap.Namespace
	note := func(what string, err error) bool {
		if err != nil && !apierrors.IsNotFound(err) {
			in.Unknown = append(in.Unknown, diagnose.Unknown{What: what, Why: err.Error()})
		}
		return err == nil
	}
	if list, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, all); note("Services", err) {
		in.Services = pointers(list.Items)
	}
	if list, err := client.CoreV1().Nodes().List(ctx, all); note("Nodes", err) {
		in.Nodes = pointers(list.Items)
		slices.SortFunc(in.Nodes, func(a, b *v1.Node) int { return cmp.Compare(a.Name, b.Name) })
	}
	if list, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, all); note("EndpointSlices", err) {
		in.EndpointSlices = pointers[discoveryv1.EndpointSlice](list.Items)
	}
	if list, err := client.AppsV1().DaemonSets(namespace).List(ctx, all); note("DaemonSets of namespace "+namespace, err) {
		i := slices.IndexFunc(list.Items, func(d appsv1.DaemonSet) bool {
			return container(&v1.Pod{Spec: d.Spec.Template.Spec}, speakerProgram) != nil
		})
		if i >= 0 {
			in.DaemonSet = &list.Items[i]
		}
	}
	if lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, cloudprovider.LeaseName, metav1.GetOptions{}); note("Lease "+namespace+"/"+cloudprovider.LeaseName, err) {
		in.Lease = lease
	}
	if cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, o.configMap.Name, metav1.GetOptions{}); note("ConfigMap "+o.configMap.String(), err) {
		in.Config = cm
	}
	if cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, o.configMap.InUse(), metav1.GetOptions{}); note("ConfigMap "+namespace+"/"+o.configMap.InUse(), err) {
		in.InUse = cm
	}
	if list, err := client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Service"}); note("Events", err) {
		in.Events = pointers(list.Items)
	}
}

func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// readDocuments reads the documents of all programs, some at the same time.
func readDocuments(ctx context.Context, ports podPorts, speakers []diagnose.Speaker, managers []diagnose.Manager) {
	var work sync.WaitGroup
	turns := make(chan struct{}, maxPodsAtOnce)
	start := func(read func(context.Context)) {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeoutCause(ctx, maxPodTime, errSlow)
			defer cancel()
			read(ctx)
		})
	}
	for i := range speakers {
		start(func(ctx context.Context) { readSpeaker(ctx, ports, &speakers[i]) })
	}
	for i := range managers {
		start(func(ctx context.Context) { readManager(ctx, ports, &managers[i]) })
	}
	work.Wait()
}

func readSpeaker(ctx context.Context, ports podPorts, s *diagnose.Speaker) {
	port, err := portOf(s.Pod, speakerProgram, speakerAddressFlag, speakerAddress)
	if err != nil {
		s.Problem = err.Error()
		return
	}
	plan, sessions, spread, members := &debugapi.Plan{}, &debugapi.BGP{}, &debugapi.Spread{}, &debugapi.Members{}
	documents := []struct {
		path, kind string
		document   debugapi.Document
	}{
		{debugapi.PlanPath, debugapi.PlanKind, plan}, {debugapi.BGPPath, debugapi.BGPKind, sessions},
		{debugapi.SpreadPath, debugapi.SpreadKind, spread}, {debugapi.MembersPath, debugapi.MembersKind, members},
	}
	var paths []string
	for _, d := range documents {
		paths = append(paths, d.path)
	}
	answers, err := ports.get(ctx, s.Pod, port, paths...)
	for i, answer := range answers {
		err = errors.Join(err, debugapi.Decode(answer, documents[i].kind, documents[i].document))
	}
	if err != nil {
		s.Problem = err.Error()
		return
	}
	s.Plan, s.BGP, s.Spread, s.Members = plan, sessions, spread, members
}

func readManager(ctx context.Context, ports podPorts, m *diagnose.Manager) {
	port, err := portOf(m.Pod, managerProgram, managerAddressFlag, managerDebugAddress)
	if err != nil {
		m.Problem, m.Silent = err.Error(), true
		return
	}
	answers, err := ports.get(ctx, m.Pod, port, debugapi.AllocationsPath)
	allocations := &debugapi.Allocations{}
	if err == nil {
		err = debugapi.Decode(answers[0], debugapi.AllocationsKind, allocations)
	}
	if err != nil {
		m.Problem = err.Error()
		return
	}
	m.Allocations = allocations
}
