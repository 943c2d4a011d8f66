package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	routerName = "router"
	// Outside is the name of the network namespace behind the router. It is a host in a
	// network of its own.
	Outside = "outside"
	// RouterIPv4 and RouterIPv6 are the router's addresses on the segment.
	RouterIPv4 = "192.168.120.254"
	RouterIPv6 = "fd00:120::254"
	// RouterASN is the router's autonomous system, and NodesASN is the nodes'.
	RouterASN = 64513
	NodesASN  = 64512
)

// RouterOptions are the options of a router.
type RouterOptions struct {
	// Daemon is "FRR" or "BIRD". Both are the versions of Debian.
	Daemon string
	// BFD is the interval between BFD packets. A session ends after three intervals
	// without a packet. 0 means that there is no BFD.
	BFD time.Duration
	// Graceful makes the router keep the routes of a node whose BGP session has ended
	// without a notification (graceful restart).
	Graceful bool
	// Gateway makes the router the default gateway of the nodes, as it is in most networks.
	Gateway bool
	// Password is the password of TCP MD5. Only FRR supports it.
	Password string
}

// Router is a router on the segment. It is a BGP peer of all nodes, and spreads
// connections over them by addresses and ports. One host is behind the router.
type Router struct {
	cluster   *Cluster
	options   RouterOptions
	dir       string
	shell     []string
	processes []*Process
}

// StartRouter starts a router and the host behind it.
func (c *Cluster) StartRouter(ctx context.Context, o RouterOptions) (*Router, error) {
	for _, program := range []string{"bird", "vtysh"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("starting the router: Debian's bird2 and frr are not installed; run hack/need bird=bird2 vtysh=frr: %w", err)
		}
	}
	r := &Router{cluster: c, options: o, dir: "/run/router"}
	err := r.plug()
	if err == nil {
		err = r.waitForLinkLocal(ctx)
	}
	if err == nil {
		err = os.MkdirAll(r.dir, 0o755)
	}
	if err == nil {
		err = r.Restart(ctx)
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting the router: %w", err)
	}
	return r, nil
}

// waitForLinkLocal waits until no other host has the router's link-local addresses (RFC 4862,
// section 5.4). Before that the kernel does not ask for the neighbors of packets that it forwards.
func (r *Router) waitForLinkLocal(ctx context.Context) error {
	return r.cluster.Wait(ctx, "the router's link-local addresses", func() bool {
		out, err := exec.Command("ip", "-6", "-n", routerName, "addr", "show", "tentative").CombinedOutput()
		return err == nil && len(bytes.TrimSpace(out)) == 0
	})
}

func (r *Router) plug() error {
	if err := plug(routerName, "02:00:00:00:02:00", RouterIPv4, RouterIPv6); err != nil {
		return err
	}
	in, out := "-n "+routerName+" ", "-n "+Outside+" "
	err := ips(
		"netns add "+Outside,
		"link add outside netns "+routerName+" type veth peer name eth0 netns "+Outside,
		in+"link set outside up", out+"link set lo up", out+"link set eth0 up",
		in+"addr add 172.31.0.254/24 dev outside", in+"addr add fd00:130::254/64 dev outside nodad",
		out+"addr add 172.31.0.100/24 dev eth0", out+"addr add fd00:130::100/64 dev eth0 nodad",
		out+"route add default via 172.31.0.254", out+"route add default via fd00:130::254",
	)
	if err == nil && r.cluster.options.Full { // the host behind the router needs a way to the API server
		err = ips("route add 172.31.0.0/24 via "+RouterIPv4, "route add fd00:130::/64 via "+RouterIPv6)
	}
	for _, n := range r.cluster.nodes {
		if err == nil && r.options.Gateway {
			err = ips("-n "+n.Name+" route add default via "+RouterIPv4, "-n "+n.Name+" route add default via "+RouterIPv6)
		}
		if err == nil {
			err = ips("-n "+n.Name+" route add 172.31.0.0/24 via "+RouterIPv4, "-n "+n.Name+" route add fd00:130::/64 via "+RouterIPv6)
		}
	}
	if err != nil {
		return err
	}
	return inNetns(routerName, func() error {
		for file, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/fib_multipath_hash_policy": "1", "ipv6/fib_multipath_hash_policy": "1"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// Restart kills the daemon if it runs, starts it, and waits until it answers.
func (r *Router) Restart(ctx context.Context) error {
	r.Kill()
	var err error
	if r.options.Daemon == "BIRD" {
		err = r.bird()
	} else {
		err = r.frr(ctx)
	}
	if err != nil {
		return err
	}
	return r.cluster.Wait(ctx, "the router's daemon", func() bool {
		_, err := r.Ask(map[string]string{"BIRD": "show status", "FRR": "show bgp summary"}[r.options.Daemon])
		return err == nil
	})
}

// Forget removes the routes that the daemon has left in the kernel.
func (r *Router) Forget() error {
	return ips("-n "+routerName+" -4 route flush proto "+r.protocol(), "-n "+routerName+" -6 route flush proto "+r.protocol())
}

// protocol is the name that the kernel has for the routes of the daemon.
func (r *Router) protocol() string {
	if r.options.Daemon == "BIRD" {
		return "bird"
	}
	return "bgp"
}

// Kill kills the daemon, which cannot tell its peers. The kernel keeps the routes and
// forwards packets.
func (r *Router) Kill() {
	for _, p := range r.processes {
		p.Kill()
	}
	r.processes = nil
}

func (r *Router) start(name string, args ...string) error {
	p, err := r.cluster.start(name, routerName, args...)
	if err == nil {
		r.processes = append(r.processes, p)
	}
	return err
}

// Ask sends a command to the daemon's command line, and returns the answer.
func (r *Router) Ask(command string) (string, error) {
	args := r.shell
	if args[0] == "birdc" {
		args = append(args[:len(args):len(args)], strings.Fields(command)...)
	} else {
		args = append(args[:len(args):len(args)], command)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("sending the command %q to the router: %w: %s", command, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// NextHops returns the names of the nodes to which the router's kernel sends packets for
// an address, sorted.
func (r *Router) NextHops(vip string) (names []string, err error) {
	family := "-4"
	if strings.Contains(vip, ":") {
		family = "-6"
	}
	out, err := exec.Command("ip", family, "-n", routerName, "route", "show", "match", vip).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("reading the router's route to %s: %w: %s", vip, err, out)
	}
	fields := strings.Fields(string(out))
	via := map[string]bool{}
	for i := 0; i+1 < len(fields); i++ {
		via[fields[i+1]] = via[fields[i+1]] || fields[i] == "via"
	}
	for _, n := range r.cluster.nodes {
		if via[nodeIPv4(n.n)] || via[nodeIPv6(n.n)] {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// Fetch gets a page as the host behind the router. Otherwise it is like Cluster.Fetch.
func (r *Router) Fetch(ctx context.Context, vip string) (string, error) {
	return r.cluster.fetchFrom(ctx, Outside, vip, "80")
}

// FetchPort is like Fetch, but from another port than 80.
func (r *Router) FetchPort(ctx context.Context, vip, port string) (string, error) {
	return r.cluster.fetchFrom(ctx, Outside, vip, port)
}

// StartProbe starts a Probe on the host behind the router.
func (r *Router) StartProbe(vip string) (*Probe, error) {
	return startProbe(Outside, vip, probeEvery)
}

// Narrow sets the MTU of the router's link to the host behind it. That host's own link keeps its MTU,
// so senders learn of the smaller one only from the router's ICMP errors. All nodes forget the
// MTUs that they have learned before.
func (r *Router) Narrow(mtu int) error {
	err := ip(fmt.Sprint("-n "+routerName+" link set outside mtu ", mtu))
	for _, n := range r.cluster.nodes {
		if err == nil {
			err = ips("-n "+n.Name+" -4 route flush cache", "-n "+n.Name+" -6 route flush cache")
		}
	}
	return err
}

// Close removes the router and the host behind it.
func (r *Router) Close() {
	r.Kill()
	// The kernel needs some time to remove a namespace with its links. The next router
	// needs the name of this link before that.
	_ = ip("link del " + routerName)
	for _, name := range []string{routerName, Outside} {
		_ = ip("netns del " + name) // fails if plug has failed before it made the namespace
	}
	_ = os.RemoveAll(r.dir)
	_ = ips("route del 172.31.0.0/24", "route del fd00:130::/64") // fails on a light cluster, which has no such routes
	for _, n := range r.cluster.nodes {
		_ = ips("-n "+n.Name+" route del 172.31.0.0/24", "-n "+n.Name+" route del fd00:130::/64") // fails if plug has failed
		if r.options.Gateway {
			_ = ips("-n "+n.Name+" route del default via "+RouterIPv4, "-n "+n.Name+" route del default via "+RouterIPv6) // the same
		}
	}
}
