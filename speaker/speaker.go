// Package speaker makes a node announce the addresses of Services. Everything
// it decides is decided by MakePlan; the rest of the package feeds State in and
// carries the Plan out.
package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// Options are what the operator can choose.
type Options struct {
	// Node is the name of the node that this speaker runs on.
	Node      string
	ConfigMap configmap.Ref
	// Scope is which Services are served, the same as the cloud controller manager's.
	Scope  service.Scope
	Client kubernetes.Interface
	// MembersPort is the port of the member list, TCP and UDP, the same everywhere.
	MembersPort uint16
	// HeartbeatPort is the port of the heartbeats, UDP and TCP, the same everywhere.
	HeartbeatPort uint16
	// Failover is how soon a dead node is missed.
	Failover heartbeat.Timing
	// Refresh is how often an address is announced that does not move; 0 is never.
	Refresh time.Duration
	// MetricsAddress is where HTTP is served: metrics, health and the plan.
	MetricsAddress string
	// ExcludeInterfaces matches the names of interfaces that are not announced on.
	ExcludeInterfaces *regexp.Regexp
	Log               *slog.Logger
}

// Speaker is one node's part of the work.
type Speaker struct {
	options   Options
	log       *slog.Logger
	registry  *prometheus.Registry
	events    record.EventRecorder
	kick      chan struct{}
	watched   *watched
	config    *configmap.Watcher
	passwords *passwords
	// The announcing parts exist once the API server has said where others are.
	addr      netip.Addr // this node's
	members   *members.Members
	heartbeat *heartbeat.Heartbeat
	layer2    *layer2.Announcer
	bgp       *bgp.Announcer
	status    status
	met       atomic.Bool // a speaker that was taken for dead has been heard
	// For the loop alone.
	planner     Planner
	paths       []heartbeat.Peer    // as the heartbeats know them
	known       map[netip.Addr]bool // addresses that somebody has announced
	contested   map[netip.Addr]string
	returned    uint64 // how many lost members had come back by the last plan
	thaws       int
	fence       fence
	wasHeld     bool
	heldUntil   time.Time
	rejoined    <-chan struct{} // closed when Rejoin has ended
	sessions    []bgp.Status    // as they were told of last
	addrs       []netip.Addr    // see ownAddrs
	routerPaths routerPaths
}

// Run announces until ctx ends; then it hands over to other speakers and returns.
func Run(ctx context.Context, o Options) error {
	if err := layer2.Preflight(); err != nil {
		return err
	}
	s := &Speaker{options: o, log: o.Log, registry: prometheus.NewRegistry(), kick: make(chan struct{}, 1), routerPaths: routerPaths{}}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.status.register(s.registry)

	// What has to live until the hand-over is over must not end with ctx.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	if err := s.serve(background, &wg); err != nil {
		return err
	}
	if err := s.watchAPI(background, &wg); err != nil {
		return err
	}
	if !s.waitAPI(ctx) {
		return nil
	}
	self, key, ok := s.waitSelf(ctx)
	if !ok {
		return nil
	}
	if err := s.join(ctx, background, &wg, self, key); err != nil {
		return err
	}
	s.layer2 = layer2.New(layer2.Options{
		Log: s.log, Metrics: s.registry, MayAnswer: s.heartbeat.MayAnswer, Refresh: s.options.Refresh, Changed: s.changed,
		Met: func(string) {
			s.met.Store(true)
			s.changed()
		},
	})
	defer s.layer2.Close()
	s.bgp = bgp.New(bgp.Options{Log: s.log, Metrics: s.registry, Changed: s.changed})
	s.status.sessions.Store(s.bgp)
	wg.Go(func() { links.Watch(background, s.log, s.changed) })
	s.loop(ctx)
	return s.leave()
}

// changed asks the loop to plan anew. It never blocks.
func (s *Speaker) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// watchAPI starts the informers, the ConfigMap's watcher and the Events.
func (s *Speaker) watchAPI(ctx context.Context, wg *sync.WaitGroup) error {
	var err error
	if s.watched, err = watch(s.options.Client, s.options.Scope, s.changed); err != nil {
		return err
	}
	if s.passwords, err = watchPasswords(s.options.Client, s.options.ConfigMap.Namespace, s.changed); err != nil {
		return err
	}
	s.config = configmap.NewWatcher(s.options.Client, s.options.ConfigMap, s.log, func(state configmap.State) {
		s.status.configLoaded(state)
		s.changed()
	})
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: s.options.Client.CoreV1().Events("")})
	s.events = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "baremetal-speaker", Host: s.options.Node})
	s.watched.factory.StartWithContext(ctx)
	s.passwords.factory.StartWithContext(ctx)
	wg.Go(func() {
		if err := s.config.Run(ctx); err != nil {
			s.log.Error("the ConfigMap is not watched", "error", err)
		}
		broadcaster.Shutdown()
		s.watched.factory.Shutdown()
		s.passwords.factory.Shutdown()
	})
	return nil
}

// join becomes a member and waits for the first join. The member list lives as
// long as background, since the others must see this speaker leave.
func (s *Speaker) join(ctx, background context.Context, wg *sync.WaitGroup, self netip.Addr, key []byte) error {
	var err error
	s.addr = self
	s.heartbeat, err = heartbeat.New(heartbeat.Options{
		Name: s.options.Node, Port: s.options.HeartbeatPort, Secret: key, Timing: s.options.Failover,
		Changed: s.changed, Witness: s.witness, Log: s.log, Metrics: s.registry,
	})
	if err != nil {
		return err
	}
	wg.Go(func() { s.heartbeat.Run(background) })
	s.members, err = members.New(members.Options{
		Name: s.options.Node, Addr: netip.AddrPortFrom(self, s.options.MembersPort), Secret: key,
		Peers: s.peers, Changed: s.changed, ProbeInterval: max(200*time.Millisecond, 2*s.options.Failover.Interval), Log: s.log, Metrics: s.registry,
	})
	if err != nil {
		return err
	}
	wg.Go(func() {
		s.members.Run(background)
		if err := s.members.Close(); err != nil {
			s.log.Warn("closing the member list", "error", err)
		}
	})
	select {
	case <-s.members.Joined():
	case <-ctx.Done():
	}
	return nil
}

// leave hands every address over. Routers drop this node's routes, or if they and
// we agreed on graceful restart keep them for a while. On the link the others are
// told, and this speaker goes on answering until they have taken over or
// layer2.Linger has passed.
func (s *Speaker) leave() error {
	s.log.Info("leaving")
	s.bgp.Close(s.keepRoutes())
	if !s.heartbeat.MayAnswer() {
		s.layer2.Forget() // others are the owners, and are not disturbed
	}
	s.heartbeat.Retire()
	s.layer2.HandOver()
	if err := s.members.Leave(); err != nil {
		s.log.Warn("the other speakers may not know that this one leaves", "error", err)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.layer2.Lingering() > 0 {
		<-poll.C
	}
	s.log.Info("left")
	return nil
}

var errNoInternalIP = errors.New("the Node has no address of type InternalIP yet")

// self returns this node's address for the member list.
func (s *Speaker) self() (netip.Addr, error) {
	addr, ok := s.peers()[s.options.Node]
	if ok {
		return addr, nil
	}
	if _, err := s.watched.nodes.Get(s.options.Node); err != nil {
		return netip.Addr{}, fmt.Errorf("there is no Node %q; check --node-name", s.options.Node)
	}
	return netip.Addr{}, errNoInternalIP
}
