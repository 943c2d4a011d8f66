package view

import (
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// Inputs are everything that was read for one pass of the loop, each source once.
type Inputs struct {
	// Node is the name of this node, Addr its address in the member list.
	Node string
	Addr netip.Addr
	// Config is the last good configuration, or nil.
	Config *config.Config
	// Source says where Config and Earlier come from.
	Source Source
	// Earlier is the configuration that the cluster manager uses, if it does not use Config
	// yet. Orphans are the addresses of no pool that it has published.
	Earlier *config.Config
	Orphans map[netip.Addr]*config.Pool
	// NothingPublished is set while there is no published ConfigMap.
	NothingPublished bool
	Services         []plan.Service
	Nodes            []plan.Node
	// NodeAddrs are the addresses in the statuses of all Nodes, each with its Node's name.
	NodeAddrs map[netip.Addr]string
	// AllLinks are this node's Ethernet links that are up. Links are those of them on which
	// addresses can be announced; see announcementLinks.
	AllLinks, Links []links.Link
	// Networks are the networks that the speakers have written, by the names of their nodes.
	Networks map[string][]plan.NodeNetwork
	// Others are the other members. Deleted are the names of lost members whose Node
	// was deleted; they are not among the Others.
	Others  []members.Member
	Deleted []string
	// Departed are the members, as they were, that have left or died a short time ago, and whose
	// kernels may live. Lost members are among the Others, too.
	Departed []members.Member
	// HasRules are the VIPs for which the kernels of members hand segments on, for those members whose speakers do not
	// write rules now. It has the names of the members.
	HasRules map[string]map[netip.Addr]bool
	// Left says since when speakers are gone. This speaker should write it for those that start later.
	Left map[string]time.Time
	// Addrs are the addresses of type InternalIP of this Node.
	Addrs []netip.Addr
	// Ready is set if this Node is Ready since ReadySince, and its kubelet has said so since the
	// machine started.
	Ready      bool
	ReadySince time.Time
	// KubeProxy is set if kube-proxy has answered on this node.
	KubeProxy bool
	// ReadyNodes are the names of all Nodes that are Ready, without those whose network is
	// unavailable and those that are out of service.
	ReadyNodes []string
	// Again is after which time the Inputs change by themselves; 0 means never.
	Again time.Duration
	// Routers is what is known about the configured BGP peers, by their names.
	Routers map[string]plan.Router
}

// Source says where the configurations of the Inputs come from.
type Source struct {
	// State is that of the operator's ConfigMap.
	State configmap.State
	// Earlier is the text of the earlier configuration; empty if there is none.
	Earlier string
}

// Reader reads the Inputs. Some inputs can be missing for a moment. The Reader remembers
// their last value, so that BGP sessions do not end then. It is for one goroutine.
type Reader struct {
	node    string
	addr    func() netip.Addr
	cluster *Cluster
	config  *configmap.Watcher
	exclude *regexp.Regexp
	proxy   *KubeProxy
	bootID  string // of this machine

	settling settling
	departed departed

	addrs []netip.Addr
	paths map[pathKey]routerPath
	// orphans are those of the published ConfigMap with this UID and version.
	orphans        map[netip.Addr]*config.Pool
	orphansVersion string
}

type pathKey struct{ addr, source netip.Addr }

// routerPath is how the kernel reaches a router.
type routerPath struct {
	link   int
	direct bool
}

// NewReader returns a Reader for a node. addr returns the node's present address in the
// member list. exclude matches the names of interfaces that are not used.
func NewReader(node string, addr func() netip.Addr, cluster *Cluster, config *configmap.Watcher, proxy *KubeProxy, exclude *regexp.Regexp) *Reader {
	return &Reader{node: node, addr: addr, cluster: cluster, config: config, proxy: proxy, exclude: exclude, bootID: bootID(), paths: map[pathKey]routerPath{}}
}

// Read reads everything once. others are the other members at this moment, and beats what the
// heartbeats say. spread returns the VIPs that should be spread now, or nil if that is unknown.
func (r *Reader) Read(others []members.Member, beats heartbeat.View, spread func() map[netip.Addr]bool) (Inputs, error) {
	now, state := time.Now(), r.config.State()
	in := Inputs{Node: r.node, Addr: r.addr(), Config: state.Config, Source: Source{State: state}}
	in.Earlier, in.Source.Earlier, in.Orphans = r.readPublished(state.Hash)
	in.NothingPublished = r.config.InUse().Object == nil
	var err error
	if in.NodeAddrs, err = r.cluster.NodeAddrs(); err != nil {
		return Inputs{}, err
	}
	if in.Services, err = r.cluster.planServices(now, &r.settling, r.config.InUse().Withheld, in.needsEndpoints); err != nil {
		return Inputs{}, err
	}
	if in.Nodes, err = r.cluster.planNodes(); err != nil {
		return Inputs{}, err
	}
	in.Addrs = r.readAddrs()
	if in.AllLinks, err = links.List(r.exclude, in.Addrs); err != nil {
		return Inputs{}, err
	}
	in.Links = announcementLinks(in, links.GatewayLinks())
	in.Networks = networksOf(r.config.Nodes())
	in.setOthers(withNewestProfiles(others, beats))
	in.ReadySince, in.Ready = readySince(r.cluster.Node(r.node), r.bootID)
	in.KubeProxy = r.proxy.Answered()
	if in.ReadyNodes, err = r.cluster.readyNodes(); err != nil {
		return Inputs{}, err
	}
	if r.departed.last == nil {
		r.departed.seed(now, r.node, r.config.Nodes())
	}
	found := r.departed.update(now, in.Others, beats, in.ReadyNodes, spread)
	in.Departed, in.HasRules, in.Left = found.gone, found.hasRules, found.left
	in.Again = after(now, r.settling.again, r.departed.again)
	in.Routers = r.readRouters(in.Config, in.Nodes)
	return in, nil
}

// after returns how long it is until the first of the times; 0 if all are zero.
func after(now time.Time, times ...time.Time) (first time.Duration) {
	for _, at := range times {
		if d := max(time.Millisecond, at.Sub(now)); !at.IsZero() && (first == 0 || d < first) {
			first = d
		}
	}
	return first
}

// needsEndpoints reports whether the announcement of a VIP depends on the endpoints of its
// Services because of its pool.
func (in *Inputs) needsEndpoints(vip netip.Addr) bool {
	pool, ok := plan.PoolOf(vip, in.Config, in.Orphans, in.Earlier)
	return ok && pool.WithdrawWithoutEndpoints
}

// readPublished returns the configuration that the cluster manager uses and its text, if it is
// another one than ours, and the orphans. The orphans stay the same map while nothing new is
// published, so that the plans stay cheap.
func (r *Reader) readPublished(hash string) (earlier *config.Config, text string, orphans map[netip.Addr]*config.Pool) {
	inUse := r.config.InUse()
	if inUse.Hash != hash && inUse.Config != nil {
		earlier, text = inUse.Config, inUse.Object.Data[configmap.Key]
	}
	version := ""
	if inUse.Object != nil {
		version = string(inUse.Object.UID) + "/" + inUse.Object.ResourceVersion
	}
	if version != r.orphansVersion {
		r.orphansVersion, r.orphans = version, make(map[netip.Addr]*config.Pool, len(inUse.Orphans))
		for _, o := range inUse.Orphans {
			r.orphans[o.Addr] = o.Pool
		}
	}
	return earlier, text, r.orphans
}

// setOthers sets Others and Deleted. Members whose Node was deleted do not come back.
func (in *Inputs) setOthers(others []members.Member) {
	for _, o := range others {
		if o.Lost && !slices.ContainsFunc(in.Nodes, func(n plan.Node) bool { return n.Name == o.Name }) {
			in.Deleted = append(in.Deleted, o.Name)
			continue
		}
		in.Others = append(in.Others, o)
	}
}

// readAddrs returns the last known addresses of this Node.
func (r *Reader) readAddrs() []netip.Addr {
	if node := r.cluster.Node(r.node); node != nil {
		if addrs := internalIPs(node); len(addrs) > 0 {
			r.addrs = addrs
		}
	}
	return r.addrs
}

// readRouters returns what is known about the peers of this node.
func (r *Reader) readRouters(c *config.Config, nodes []plan.Node) map[string]plan.Router {
	i := slices.IndexFunc(nodes, func(n plan.Node) bool { return n.Name == r.node })
	if c == nil || i < 0 {
		return nil
	}
	routers := map[string]plan.Router{}
	r.cluster.watchPasswords(c, nodes[i].Labels)
	for _, p := range c.Peers {
		if !p.Selects(nodes[i].Labels) {
			continue
		}
		var router plan.Router
		if p.PasswordSecret != "" {
			var err error
			if router.Password, err = r.cluster.passwords.read(p.PasswordSecret); err != nil {
				router.Unready = err.Error()
			}
		}
		if p.BFDProfile != "" {
			path := r.readPath(p.Address, p.SourceAddress)
			router.Link, router.Direct = path.link, path.direct
		}
		routers[p.Name] = router
	}
	return routers
}

// readPath returns the last known path to a router. So a router on the link still counts
// as such while the kernel has no route to it.
func (r *Reader) readPath(addr, source netip.Addr) routerPath {
	key := pathKey{addr, source}
	if link, direct, err := links.PathTo(addr, source); err == nil {
		r.paths[key] = routerPath{link, direct}
	}
	return r.paths[key]
}
