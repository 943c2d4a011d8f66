package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Behind the router is a network of its own, with one host on it.
const (
	routerName = "router"
	Outside    = "outside"
	RouterIPv4 = "192.168.120.254"
	RouterIPv6 = "fd00:120::254"
	RouterASN  = 64513
	NodesASN   = 64512
)

// RouterOptions are what can differ between routers.
type RouterOptions struct {
	// Daemon is FRR or BIRD, as in Debian.
	Daemon string
	// BFD is the interval of its packets, three of which may be missing; 0 is
	// without BFD.
	BFD time.Duration
	// Graceful keeps the routes of a node whose BGP has ended without a word.
	Graceful bool
	// Password of TCP MD5; FRR only.
	Password string
}

// Router is a router on the segment: a BGP peer of all nodes that spreads
// connections over them by addresses and ports. A host is behind it.
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
			return nil, fmt.Errorf("a router needs Debian's bird2 and frr (hack/need bird=bird2 vtysh=frr): %w", err)
		}
	}
	r := &Router{cluster: c, options: o, dir: "/run/router"}
	err := r.plug()
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
	if err == nil && r.cluster.options.Full { // who is outside may speak to the API server
		err = ips("route add 172.31.0.0/24 via "+RouterIPv4, "route add fd00:130::/64 via "+RouterIPv6)
	}
	for _, n := range r.cluster.nodes {
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

// Restart starts the daemon again, which is killed before if it runs.
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

// Forget takes the routes that the daemon has left in the kernel.
func (r *Router) Forget() error {
	return ips("-n "+routerName+" -4 route flush proto "+r.protocol(), "-n "+routerName+" -6 route flush proto "+r.protocol())
}

func (r *Router) protocol() string {
	if r.options.Daemon == "BIRD" {
		return "bird"
	}
	return "bgp"
}

// Kill ends the daemon without a goodbye. The kernel goes on forwarding.
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

func (r *Router) bird() error {
	text := fmt.Sprintf("log %q all;\nrouter id %s;\nprotocol device { scan time 1; }\n", filepath.Join(r.dir, "bird.log"), RouterIPv4)
	for _, family := range []string{"ipv4", "ipv6"} {
		text += "protocol kernel { merge paths yes; " + family + " { export all; }; }\n"
	}
	watch := ""
	if r.options.BFD > 0 {
		text += fmt.Sprintf("protocol bfd { interface \"eth0\" { interval %d ms; multiplier 3; }; }\n", r.options.BFD.Milliseconds())
		watch = "bfd graceful;"
	}
	restart := "off"
	if r.options.Graceful {
		restart = "aware"
	}
	text += fmt.Sprintf(`protocol bgp nodes {
	local %s as %d; neighbor range 192.168.120.0/24 as %d; graceful restart %s; error wait time 1, 5; %s
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, RouterIPv4, RouterASN, NodesASN, restart, watch)
	r.shell = []string{"birdc", "-s", filepath.Join(r.dir, "ctl")}
	file := filepath.Join(r.dir, "bird.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return r.start("bird", "bird", "-f", "-c", file, "-s", filepath.Join(r.dir, "ctl"))
}

func (r *Router) frr(ctx context.Context) error {
	owner, err := user.Lookup("frr")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid) // they are numbers
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(r.dir, uid, gid); err != nil {
		return err
	}
	var more string
	if r.options.BFD > 0 {
		ms := r.options.BFD.Milliseconds()
		more += fmt.Sprintf(" neighbor nodes bfd 3 %d %d\n neighbor nodes bfd check-control-plane-failure\n", ms, ms)
	}
	if r.options.Password != "" {
		more += " neighbor nodes password " + r.options.Password + "\n"
	}
	if !r.options.Graceful {
		more = " bgp graceful-restart-disable\n" + more
	}
	text := fmt.Sprintf(`router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as %d
%s bgp listen range 192.168.120.0/24 peer-group nodes
 address-family ipv4 unicast
  neighbor nodes activate
  maximum-paths 16
 address-family ipv6 unicast
  neighbor nodes activate
  maximum-paths 16
`, RouterASN, RouterIPv4, NodesASN, more)
	r.shell = []string{"vtysh", "--vty_socket", r.dir, "-c"}
	for _, name := range []string{"zebra", "bfdd", "bgpd"} {
		config := map[string]string{"bgpd": text}[name]
		file := filepath.Join(r.dir, name+".conf")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			return err
		}
		args := []string{"/usr/lib/frr/" + name, "-f", file, "-i", filepath.Join(r.dir, name+".pid"), "-z", filepath.Join(r.dir, "zserv"),
			"--vty_socket", r.dir, "--log", "stdout", "-u", "frr", "-g", "frr", "-P", "0"}
		if name == "bfdd" {
			args = append(args, "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
		}
		if err := r.start(name, args...); err != nil {
			return err
		}
		if name != "zebra" {
			continue
		}
		if err := r.cluster.Wait(ctx, "zebra", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv")); return err == nil }); err != nil {
			return err
		}
	}
	return nil
}

// Ask returns what the router answers to a command.
func (r *Router) Ask(command string) (string, error) {
	args := r.shell
	if args[0] == "birdc" {
		args = append(args[:len(args):len(args)], strings.Fields(command)...)
	} else {
		args = append(args[:len(args):len(args)], command)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%q: %w: %s", command, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// NextHops returns the nodes over which the router's kernel sends packets for an
// address, sorted.
func (r *Router) NextHops(vip string) (names []string, err error) {
	family := "-4"
	if strings.Contains(vip, ":") {
		family = "-6"
	}
	out, err := exec.Command("ip", family, "-n", routerName, "route", "show", "match", vip).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("asking for the route to %s: %w: %s", vip, err, out)
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

// Fetch gets a page as the host behind the router; see Cluster.Fetch.
func (r *Router) Fetch(ctx context.Context, vip string) (string, error) {
	return r.cluster.fetchFrom(ctx, Outside, vip, "80")
}

// StartProbe starts a client on the host behind the router.
func (r *Router) StartProbe(vip string) (*Probe, error) {
	return startProbe(Outside, vip)
}

// Close ends the router and the host behind it.
func (r *Router) Close() {
	r.Kill()
	// The kernel takes its time to empty a namespace, and the next router needs the
	// name on the bridge.
	_ = ip("link del " + routerName)
	for _, name := range []string{routerName, Outside} {
		_ = ip("netns del " + name) // it may never have been made
	}
	_ = os.RemoveAll(r.dir)
	_ = ips("route del 172.31.0.0/24", "route del fd00:130::/64") // only if nodes are full
	for _, n := range r.cluster.nodes {
		_ = ips("-n "+n.Name+" route del 172.31.0.0/24", "-n "+n.Name+" route del fd00:130::/64") // they may not be there
	}
}
