// Package speaker makes a node announce the addresses of Services. It only puts the
// parts together: starts them, waits for what they need, serves HTTP, and ends them in
// order. The decisions are in package plan, the loop is in package reconcile.
package speaker

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/tablewatch"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// Options are what the operator can choose.
type Options struct {
	// Node is the name of the node that this speaker runs on.
	Node      string
	ConfigMap configmap.Ref
	// Scope says which Services are served. It is the same as the cluster manager's.
	Scope  service.Scope
	Client kubernetes.Interface
	// StatusClient writes conditions. It has limits of its own, so that they do not delay
	// other requests.
	StatusClient kubernetes.Interface
	// MembersPort is the port of the member list, TCP and UDP. It is the same on all
	// nodes.
	MembersPort uint16
	// HeartbeatPort is the port of the heartbeats, UDP and TCP. It is the same on all
	// nodes.
	HeartbeatPort uint16
	// Failover says how fast a dead node is detected.
	Failover heartbeat.Timing
	// ProbeKernels says whether the kernels of other nodes are asked whether they are alive.
	ProbeKernels bool
	// Refresh is how often an address that does not move is announced; 0 means never.
	Refresh time.Duration
	// Web says where metrics, health and the plan are served.
	Web WebOptions
	// ExcludeInterfaces matches the names of interfaces that are not announced on.
	ExcludeInterfaces *regexp.Regexp
	// IgnoreExcludeLabel lets nodes with the label
	// node.kubernetes.io/exclude-from-external-load-balancers announce.
	IgnoreExcludeLabel bool
	// FailbackAfter is how long other nodes are preferred to one that was lost without a
	// goodbye and has come back; 0 means not at all.
	FailbackAfter time.Duration
	// KubeProxyHealth is where kube-proxy's health check listens on this node; "" if there is
	// none.
	KubeProxyHealth string
	// RefuseClosedPorts says whether the kernel refuses packets to ports of VIPs that no
	// Service has. With AnswerPing it then also answers echo requests.
	RefuseClosedPorts, AnswerPing bool
	// Spread says whether this node shares the traffic of VIPs with other nodes, if their
	// pools or Services ask for it.
	Spread bool
	// ServiceConditions says whether the speaker writes conditions of Services.
	ServiceConditions reconcile.Conditions
	Log               *slog.Logger
}

// Run announces until ctx ends. Then it hands over to the other speakers and returns.
func Run(ctx context.Context, o Options) error {
	if err := layer2.Preflight(); err != nil {
		return err
	}
	// The parts have to live until the hand-over has ended, so they do not end with ctx.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, background := errgroup.WithContext(background)
	// A part that fails ends the speaker.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(background, stop)()

	err := run(ctx, background, group, o)
	end()
	return errors.Join(err, group.Wait())
}

// run starts the parts in the background, in the order in which they need each other.
func run(ctx, background context.Context, group *errgroup.Group, o Options) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(build.Collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	web := newWeb(o.Web, o.Node, o.Log, registry)
	if err := web.start(background, group); err != nil {
		return err
	}

	wake := signal.New()
	cluster, err := view.NewCluster(o.Client, o.Scope, o.ConfigMap.Namespace, o.IgnoreExcludeLabel, wake.Set)
	if err != nil {
		return err
	}
	group.Go(func() error { return cluster.Run(background) })
	config := configmap.NewWatcher(o.Client, o.ConfigMap, o.Log, func(configmap.State) { wake.Set() }, wake.Set)
	registerConfig(registry, config)
	group.Go(func() error { return config.Run(background) })
	events := startEvents(background, group, o)
	secret, err := newKeyWatcher(o.Client, o.ConfigMap.Namespace, o.Log)
	if err != nil {
		return err
	}
	group.Go(func() error { return secret.Run(background) })

	w := waiter{options: o, cluster: cluster, config: config, keys: secret}
	if !w.api(ctx) {
		return nil
	}
	cluster.WatchPasswords(o.Node, config.State().Config)
	addr, memberKeys, ok := w.self(ctx)
	if !ok {
		return nil
	}
	ring := memberkey.NewRing(memberKeys)
	keys, _ := ring.Keys(time.Now())

	prober := probe.New(probe.Options{Log: o.Log, Metrics: registry})
	group.Go(func() error { return prober.Run(background) })
	var kernels heartbeat.Prober
	if o.ProbeKernels {
		kernels = prober
	}
	urgent := signal.New()
	var beats *heartbeat.Heartbeat
	beats, err = heartbeat.New(heartbeat.Options{
		Name: o.Node, Port: o.HeartbeatPort, Keys: keys, Timing: o.Failover, Prober: kernels, Log: o.Log, Metrics: registry,
		OtherKey: web.otherKeys.of("heartbeat"),
		Changed:  func() { web.dead.set(beats.View()); urgent.Set() },
	})
	if err != nil {
		return err
	}
	web.dead.setKeys(keys)
	group.Go(func() error { return beats.Run(background) })
	witness := view.NewWitness(beats, o.Client, o.ExcludeInterfaces, o.Failover.Detection(), o.Log)
	group.Go(func() error { return witness.Run(background) })
	if o.ProbeKernels {
		resolver := view.NewResolver(func() map[string]bool { return beats.View().FencedLinks }, o.ExcludeInterfaces, prober, o.Log)
		group.Go(func() error { return resolver.Run(background) })
	}
	others := members.New(members.Options{
		Name: o.Node, Addr: netip.AddrPortFrom(addr, o.MembersPort), Keys: keys, Addresses: w.addresses, NodeAddrs: w.nodeAddrs,
		Changed: wake.Set, ProbeInterval: max(200*time.Millisecond, 2*o.Failover.Interval), Log: o.Log, Metrics: registry,
		OtherKey: web.otherKeys.of("members"),
	})
	group.Go(func() error { return others.Run(background) })
	group.Go(func() error {
		return secret.follow(background, ring, func(keys [][]byte) { beats.SetKeys(keys); others.SetKeys(keys); web.dead.setKeys(keys) })
	})
	select {
	case <-others.Joined():
	case <-ctx.Done():
	}

	announcer := layer2.New(layer2.Options{Log: o.Log, Metrics: registry, MayAnswer: beats.MayAnswer, Refresh: o.Refresh, Rival: beats.Ask, Lost: func(name string) { others.LookFor(name) }, Changed: wake.Set})
	stopLayer2 := startPart(background, group, announcer.Run)
	defer stopLayer2()
	routers := bgp.New(bgp.Options{Log: o.Log, Metrics: registry, Changed: wake.Set})
	stopBGP := startPart(background, group, routers.Run)
	var closed *closedports.Refuser
	if o.RefuseClosedPorts {
		closed = closedports.New(closedports.Options{Log: o.Log, Metrics: registry, AnswerPing: o.AnswerPing})
		group.Go(func() error { return closed.Run(background) }) // it ends after the hand-over
	}
	var spreader *spread.Spreader
	stopSpread := func() {}
	if o.Spread {
		spreader = spread.New(spread.Options{Log: o.Log, Metrics: registry, Changed: wake.Set})
		stopSpread = startPart(background, group, spreader.Run)
	} else {
		spread.RemoveLeftovers(o.Log)
	}
	if closed != nil || spreader != nil {
		tables := tablewatch.New(tablewatch.Options{Tables: []string{closedports.TableName, spread.TableName}, Log: o.Log, Removed: func() {
			if closed != nil {
				closed.Repair()
			}
			if spreader != nil {
				spreader.Repair()
			}
		}})
		group.Go(func() error { return tables.Run(background) })
	}
	nodeLinks := reconcile.NewNodeLinks(o.Node, o.Client, o.ConfigMap, config, o.ExcludeInterfaces, func() bool { return cluster.Node(o.Node) != nil }, o.Log)
	group.Go(func() error { return nodeLinks.Run(background) })
	watcher := links.NewWatcher(o.Log, func() { wake.Set(); nodeLinks.Changed(); prober.LinksChanged() })
	group.Go(func() error { return watcher.Run(background) })
	status := reconcile.NewStatusWriter(o.StatusClient, o.ServiceConditions, cluster.Service, o.Log)
	group.Go(func() error { return status.Run(background) })

	proxy := view.NewKubeProxy(o.KubeProxyHealth, wake.Set, o.Log)
	group.Go(func() error { return proxy.Run(background) })

	loop := reconcile.New(reconcile.Options{
		Node: o.Node, Reader: view.NewReader(o.Node, others.Addr, cluster, config, proxy, o.ExcludeInterfaces), Cluster: cluster, FailbackAfter: o.FailbackAfter,
		Members: others, Heartbeat: beats, Layer2: announcer, BGP: routers, ClosedPorts: closed, Spread: spreader, Status: status, NodeLinks: nodeLinks,
		Wake: wake, Urgent: urgent, Events: events, Log: o.Log, Metrics: registry,
	})
	web.loop.Store(loop)
	err = loop.Run(ctx)

	if background.Err() != nil {
		return err // a part has failed and all others have ended: nothing can be handed over
	}
	o.Log.Info("this speaker is leaving")
	stopBGP()
	handOver(background, o.Log, beats, announcer, others)
	stopSpread()
	if spreader != nil && isUninstalled(background, o.Client, o.ConfigMap.Namespace) {
		spreader.Remove()
	}
	o.Log.Info("this speaker has left")
	return err
}

// startPart runs a part in the background until stop is called. stop returns when the
// part has ended.
func startPart(background context.Context, group *errgroup.Group, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(background)
	ended := make(chan struct{})
	group.Go(func() error {
		defer close(ended)
		return run(ctx)
	})
	return func() { cancel(); <-ended }
}

// startEvents returns a recorder that writes Events until background ends.
func startEvents(background context.Context, group *errgroup.Group, o Options) record.EventRecorder {
	broadcaster := record.NewBroadcaster(record.WithContext(background))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: o.Client.CoreV1().Events("")})
	group.Go(func() error {
		<-background.Done()
		broadcaster.Shutdown()
		return nil
	})
	return broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "baremetal-speaker", Host: o.Node})
}

// handOver tells the other speakers that this one leaves. It returns when they have
// taken over all addresses, or after two seconds. Until then this speaker goes on
// answering.
func handOver(ctx context.Context, log *slog.Logger, beats *heartbeat.Heartbeat, announcer *layer2.Announcer, others *members.Members) {
	if !beats.MayAnswer() {
		announcer.Forget() // other nodes are the owners, this one must not disturb them
	}
	beats.Retire()
	announcer.HandOver()
	version, profile := others.SetLeaving()
	beats.Say(ctx, heartbeat.Profile{Version: version, Bytes: profile})
	if err := others.Leave(); err != nil {
		log.Warn("the other speakers may not know that this one leaves", "error", err)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for announcer.Lingering() > 0 {
		<-poll.C
	}
}
