package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/version"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const supportBundleHelp = `Collects what somebody needs who helps you, in one archive: versions, the configuration
without passwords, the result of status, the documents, metrics and logs of all cluster
managers and speakers (plans, sessions, members, links, allocations), Events, and the
Services, EndpointSlices and Nodes that the load balancer works with.

The file index.txt in the archive says what is missing, and why.

The archive has no Secrets and no passwords of BGP peers. Of the objects it has only the
annotations of this product. It does have names, IP and MAC addresses, and logs, so look
through it before you pass it on.

The exit status is 0 if the archive was written, also if something is missing in it.`

const supportBundleExample = `  # Write an archive with a name that has the time
  kubectl baremetal support-bundle

  # Look at what it has
  kubectl baremetal support-bundle -w bundle.tar.gz
  tar -xzOf bundle.tar.gz baremetal-support/index.txt`

func supportBundleCommand(o *options) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:     "support-bundle",
		Short:   "Collect everything that helps to find a problem, in one archive",
		Long:    supportBundleHelp,
		Example: supportBundleExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, config, err := o.client()
			if err != nil {
				return notDone(err)
			}
			now := time.Now()
			if file == "" {
				file = "baremetal-support-" + now.UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			return toFile(o.Out, file, func(w io.Writer) error {
				b, err := o.collectBundle(cmd.Context(), client, portForward{client, config}, now)
				if err != nil {
					return notDone(err)
				}
				files, err := b.write(w)
				if err != nil {
					return notDone(err)
				}
				fmt.Fprintf(o.ErrOut, "wrote %s: %s; %s missing, see index.txt in it\n", fileName(file), counted(files, "file"), counted(len(b.missing), "thing"))
				return nil
			})
		},
	}
	command.Flags().StringVarP(&file, "write", "w", "", "The file to write, - for the standard output. The default is a name with the time.")
	return command
}

// The bounds of the logs of a container.
const (
	maxLogLines = 5000
	maxLogBytes = 8 << 20
	logTimeout  = 20 * time.Second
)

// collectBundle reads everything that is in a bundle.
func (o *options) collectBundle(ctx context.Context, client kubernetes.Interface, ports podPorts, now time.Time) (*bundle, error) {
	in, err := o.gather(ctx, client, ports)
	if err != nil {
		return nil, err
	}
	b := &bundle{made: now, version: version.Get().GitVersion}
	for _, u := range in.Unknown {
		b.miss(u.What, u.Why)
	}
	nodeLinks, err := client.CoreV1().ConfigMaps(o.configMap.Namespace).Get(ctx, o.configMap.NodeLinks(), metav1.GetOptions{})
	if err != nil {
		b.miss("what the speakers publish", err.Error())
		nodeLinks = nil
	}
	b.addConfig(in, nodeLinks)
	o.addVersions(b, client, in)
	addStatus(b, in)
	o.addKubernetes(ctx, b, client, in)
	addDocuments(b, in)
	addFromPods(ctx, b, client, ports, in)
	return b, nil
}

func (o *options) addVersions(b *bundle, client kubernetes.Interface, in *diagnose.Input) {
	var t bytes.Buffer
	fmt.Fprintf(&t, "plugin %s\n", b.version)
	if server, err := client.Discovery().ServerVersion(); err != nil {
		b.miss("the version of the API server", err.Error())
	} else {
		fmt.Fprintf(&t, "API server %s\n", server.GitVersion)
	}
	for _, m := range in.Managers {
		if m.Allocations != nil {
			fmt.Fprintf(&t, "cluster manager %s %s\n", m.Pod.Name, m.Allocations.ProgramVersion)
		}
	}
	for _, s := range in.Speakers {
		if s.Plan != nil {
			fmt.Fprintf(&t, "speaker of node %s %s\n", s.Node(), s.Plan.ProgramVersion)
		}
	}
	for _, n := range in.Nodes {
		i := n.Status.NodeInfo
		fmt.Fprintf(&t, "node %s: kubelet %s, %s, kernel %s, %s, %s\n", n.Name, i.KubeletVersion, i.OSImage, i.KernelVersion, i.ContainerRuntimeVersion, i.Architecture)
	}
	b.add("versions.txt", "versions of all programs, and of the nodes", t.Bytes())
}

func addStatus(b *bundle, in *diagnose.Input) {
	status := diagnose.StatusOf(in)
	var t bytes.Buffer
	_ = printStatusText(&t, true, status) // a buffer takes everything
	b.add("status.txt", "kubectl baremetal status -o wide", t.Bytes())
	b.addJSON("status.json", "the same for programs", status)
}

// addKubernetes adds objects of the API server.
func (o *options) addKubernetes(ctx context.Context, b *bundle, client kubernetes.Interface, in *diagnose.Input) {
	var services []*v1.Service
	ours := map[string]bool{}
	for _, svc := range in.Services {
		if in.Scope.Ours(svc) {
			services, ours[service.Name(svc)] = append(services, svc), true
		}
	}
	addObjects(b, "objects/services.yaml", "the Services that are served", services)
	addObjects(b, "objects/endpointslices.yaml", "their EndpointSlices", ofServices(in.EndpointSlices, func(s *discoveryv1.EndpointSlice) string {
		return s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
	}, ours))
	nodes := make([]*v1.Node, len(in.Nodes))
	for i, n := range in.Nodes {
		nodes[i] = n.DeepCopy()
		nodes[i].Status.Images = nil
	}
	addObjects(b, "objects/nodes.yaml", "the Nodes", nodes)
	if in.DaemonSet != nil {
		d := in.DaemonSet.DeepCopy()
		hideValues(&d.Spec.Template.Spec)
		withoutOthers(d.Spec.Template.Annotations)
		addObjects(b, "objects/daemonset.yaml", "the DaemonSet of the speakers", []*appsv1.DaemonSet{d})
	}
	if in.Lease != nil {
		addObjects(b, "objects/lease.yaml", "the Lease of the cluster managers", []*coordinationv1.Lease{in.Lease})
	}
	var pods []*v1.Pod
	for _, s := range in.Speakers {
		pods = append(pods, s.Pod)
	}
	for _, m := range in.Managers {
		pods = append(pods, m.Pod)
	}
	addObjects(b, "objects/pods.yaml", "the pods of the product", withoutValues(pods))
	events := ofServices(in.Events, func(e *v1.Event) string { return e.InvolvedObject.Namespace + "/" + e.InvolvedObject.Name }, ours)
	events = slices.DeleteFunc(events, func(e *v1.Event) bool { return e.Namespace == o.configMap.Namespace }) // they are listed below
	if list, err := client.CoreV1().Events(o.configMap.Namespace).List(ctx, metav1.ListOptions{}); err != nil {
		b.miss("Events of namespace "+o.configMap.Namespace, err.Error())
	} else {
		events = append(events, pointers(list.Items)...)
	}
	addObjects(b, "objects/events.yaml", "Events about the Services, and those of the namespace of the product", newest(events))
}

// addDocuments adds the documents of the programs.
func addDocuments(b *bundle, in *diagnose.Input) {
	for _, s := range in.Speakers {
		folder, of := "speakers/"+s.Node()+"/", " of node "+s.Node()
		if s.Problem != "" {
			b.miss("the documents of the speaker"+of, s.Problem)
			continue
		}
		b.addJSON(folder+"plan.json", "what the speaker"+of+" announces, why, and what it knows", s.Plan)
		b.addJSON(folder+"bgp.json", "its BGP sessions", s.BGP)
		b.addJSON(folder+"spread.json", "which nodes carry the flows of addresses", s.Spread)
		b.addJSON(folder+"members.json", "which members it hears, and the links of all nodes", s.Members)
	}
	for _, m := range in.Managers {
		if m.Problem != "" {
			b.miss("the document of the cluster manager "+m.Pod.Name, m.Problem)
			continue
		}
		b.addJSON("managers/"+m.Pod.Name+"/allocations.json", "pools, Services and their addresses, as the cluster manager knows them", m.Allocations)
	}
}

// addFromPods adds the metrics and logs of all pods, some at the same time.
func addFromPods(ctx context.Context, b *bundle, client kubernetes.Interface, ports podPorts, in *diagnose.Input) {
	var work sync.WaitGroup
	var mu sync.Mutex // guards b
	turns := make(chan struct{}, maxPodsAtOnce)
	put := func(name, what string, read func(context.Context) ([]byte, error)) {
		work.Go(func() {
			turns <- struct{}{}
			ctx, cancel := context.WithTimeoutCause(ctx, logTimeout, errNoAnswer(logTimeout))
			text, err := read(ctx)
			cancel()
			<-turns
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				b.miss(what, err.Error())
				return
			}
			b.add(name, what, text)
		})
	}
	pod := func(p *v1.Pod, folder, program, flag, address, what string) {
		put(folder+"metrics.txt", "metrics of "+what, func(ctx context.Context) ([]byte, error) { return metricsOf(ctx, ports, p, program, flag, address) })
		for _, c := range p.Spec.Containers {
			put(folder+c.Name+".log", "log of "+what, func(ctx context.Context) ([]byte, error) { return logOf(ctx, client, p, c.Name, false) })
			if hasEnded(p, c.Name) {
				put(folder+c.Name+".before.log", "log of "+what+" before its last restart", func(ctx context.Context) ([]byte, error) { return logOf(ctx, client, p, c.Name, true) })
			}
		}
	}
	for _, s := range in.Speakers {
		pod(s.Pod, "speakers/"+s.Node()+"/", speakerProgram, speakerAddressFlag, speakerAddress, "the speaker of node "+s.Node())
	}
	for _, m := range in.Managers {
		pod(m.Pod, "managers/"+m.Pod.Name+"/", managerProgram, managerAddressFlag, managerDebugAddress, "the cluster manager "+m.Pod.Name)
	}
	work.Wait()
	slices.SortStableFunc(b.missing, func(x, y bundleGap) int { return strings.Compare(x.what, y.what) })
}

// hasEnded reports whether a container has run before.
func hasEnded(p *v1.Pod, container string) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s v1.ContainerStatus) bool { return s.Name == container && s.RestartCount > 0 })
}

func metricsOf(ctx context.Context, ports podPorts, p *v1.Pod, program, flag, address string) ([]byte, error) {
	port, err := portOf(p, program, flag, address)
	if err != nil {
		return nil, err
	}
	answers, err := ports.get(ctx, p, port, debugapi.MetricsPath)
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// logOf returns the last lines of the log of a container.
func logOf(ctx context.Context, client kubernetes.Interface, p *v1.Pod, container string, previous bool) ([]byte, error) {
	lines := int64(maxLogLines)
	stream, err := client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &v1.PodLogOptions{Container: container, Previous: previous, Timestamps: true, TailLines: &lines}).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxLogBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return text, nil
}
