package wire

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// advertiser is an Announcer that runs, and what it logs.
type advertiser struct {
	*bgp.Announcer
	t    testing.TB
	stop func()

	mu  sync.Mutex
	log bytes.Buffer
}

func (a *advertiser) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(line)
}

func (a *advertiser) logged() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

func advertise(t testing.TB) *advertiser {
	a := &advertiser{t: t}
	a.Announcer = bgp.New(bgp.Options{Log: slog.New(slog.NewTextHandler(a, nil)), Metrics: prometheus.NewRegistry(), Changed: func() {}})
	a.stop = run(t, a.Run)
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("the log of the speaker:\n%s", a.logged())
		}
	})
	return a
}

func (a *advertiser) status(peer string) bgp.Status {
	for _, s := range a.Status() {
		if s.Peer == peer {
			return s
		}
	}
	return bgp.Status{}
}

func (a *advertiser) waitUp(peers ...bgp.Peer) {
	a.t.Helper()
	for _, p := range peers {
		eventually(a.t, "the session with "+p.Name+" is up", func() bool { return a.status(p.Name).Up })
	}
}

// problem waits until the problem of a peer has all of the words.
func (a *advertiser) problem(peer string, words ...string) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("the problem with %s has the words %q", peer, words), func() bool {
		for _, w := range words {
			if !strings.Contains(a.status(peer).Problem, w) {
				return false
			}
		}
		return true
	})
	for _, w := range words {
		if !strings.Contains(a.logged(), w) {
			a.t.Errorf("the log does not say %q", w)
		}
	}
}

// peer is the router as a peer, external or internal, over one of the families.
func (r *router) peer(name string, internal, ipv4 bool) bgp.Peer {
	p := bgp.Peer{
		Name: name, MyASN: 64512, ASN: 64513, Address: r.addr4, Port: 179, RouterID: r.node4,
		HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, NextHop4: r.node4, NextHop6: r.node6,
	}
	if internal {
		p.ASN = p.MyASN
	}
	if !ipv4 {
		p.Address = r.addr6
	}
	return p
}

// start starts one of the daemons with the node as the peer.
func (r *router) start(daemon string, p bgp.Peer) {
	r.t.Helper()
	node := r.node4
	if p.Address.Is6() {
		node = r.node6
	}
	switch daemon {
	case "BIRD":
		options := ""
		if p.Password != "" {
			options = fmt.Sprintf("password %q;", p.Password)
		}
		if p.TTLSecurity {
			options += " ttl security on;"
		}
		r.bird(fmt.Sprintf(`protocol bgp node {
	local %s as %d; neighbor %s as %d; %s
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, p.Address, p.ASN, node, p.MyASN, options))
	case "FRR":
		options := ""
		if p.Password != "" {
			options = fmt.Sprintf("neighbor %s password %s", node, p.Password)
		}
		if p.TTLSecurity {
			options += fmt.Sprintf("\n neighbor %s ttl-security hops 1", node)
		}
		r.frr(fmt.Sprintf(`router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor %[3]s remote-as %d
 %s
 address-family ipv4 unicast
  neighbor %[3]s activate
 address-family ipv6 unicast
  neighbor %[3]s activate
`, p.ASN, r.addr4, node, p.MyASN, options))
	}
}

// hasRoute waits until the router's own table has a route to the prefix with all
// of the words in it.
func (r *router) hasRoute(prefix netip.Prefix, words ...string) {
	r.t.Helper()
	r.says(r.showRoute(prefix), words...)
}

func (r *router) hasNoRoute(prefix netip.Prefix) {
	r.t.Helper()
	eventually(r.t, "there is no route to "+prefix.String(), func() bool {
		answer := r.ask(r.showRoute(prefix))
		return strings.Contains(answer, "Network not found") || strings.Contains(answer, "Network not in table") || answer == "{\n}\n"
	})
}

func (r *router) showRoute(prefix netip.Prefix) string {
	if r.shell[0] == "birdc" {
		return "show route all " + prefix.String()
	}
	family := "ipv4"
	if prefix.Addr().Is6() {
		family = "ipv6"
	}
	return fmt.Sprintf("show bgp %s unicast %s json", family, prefix)
}

var (
	prefix4 = netip.MustParsePrefix("203.0.113.7/32")
	wide4   = netip.MustParsePrefix("203.0.113.0/26")
	prefix6 = netip.MustParsePrefix("2001:db8:113::7/128")
	wide6   = netip.MustParsePrefix("2001:db8:113::/64")
)

var fullRoutes = []bgp.Route{
	{Prefix: prefix4, LocalPref: 150, Communities: []uint32{64512<<16 | 7, 65535<<16 | 65281}, LargeCommunities: [][3]uint32{{64512, 1, 2}}},
	{Prefix: wide4},
	{Prefix: prefix6, LocalPref: 150, Communities: []uint32{64512<<16 | 7}, LargeCommunities: [][3]uint32{{64512, 1, 2}}},
	{Prefix: wide6},
}

func TestRoutesReachRoutersAsTheyWereAdvertised(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		for _, internal := range []bool{false, true} {
			for _, ipv4 := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s internal=%v IPv4=%v", daemon, internal, ipv4), func(t *testing.T) {
					r := wireRouter(t, 0)
					p := r.peer("router", internal, ipv4)
					p.Password = "correct-horse"
					r.start(daemon, p)
					a := advertise(t)
					a.Set([]bgp.Peer{p}, fullRoutes)
					a.waitUp(p)

					path, pref := "64512", "" // LOCAL_PREF is not for external peers
					if internal {
						path, pref = "", "150"
					}
					large := "64512:1:2"
					words := []string{"64512:7"}
					if daemon == "BIRD" {
						path, pref, large = "BGP.as_path: "+path, "BGP.local_pref: "+pref, "(64512, 1, 2)"
						words = []string{"(64512,7)"}
					} else if path != "" {
						path = `"string":"64512"`
					}
					if !internal {
						pref = ""
					}
					words = append(words, path, pref, large)
					r.hasRoute(prefix4, append(words, r.node4.String())...)
					r.hasRoute(prefix6, append(words, r.node6.String())...)
					r.hasRoute(wide4, r.node4.String())
					r.hasRoute(wide6, r.node6.String())

					a.Set([]bgp.Peer{p}, fullRoutes[1:2])
					r.hasNoRoute(prefix4)
					r.hasNoRoute(prefix6)
					r.hasRoute(wide4)
					if st := a.status(p.Name); st.Ups != 1 || st.Downs != 0 || st.Prefixes != 1 {
						t.Errorf("a change of routes has touched the session: %+v", st)
					}
				})
			}
		}
	}
}

func TestTTLSecurityWorksWithRouters(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		for _, ipv4 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s IPv4=%v", daemon, ipv4), func(t *testing.T) {
				r := wireRouter(t, 0)
				p := r.peer("router", false, ipv4)
				p.TTLSecurity = true
				r.start(daemon, p)
				a := advertise(t)
				a.Set([]bgp.Peer{p}, fullRoutes)
				a.waitUp(p)
				r.hasRoute(prefix4)
			})
		}
	}
}

func TestBGPSessionOverLinkLocalCarriesBothFamilies(t *testing.T) {
	for n, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r := wireRouter(t, n) // a new name, because Go caches the index of an interface name for a minute
			uplink := fmt.Sprint("router-", n)
			p := r.peer("router", false, false)
			theirs := linkLocal(t, func() ([]byte, error) {
				return r.in("ip", "-o", "-6", "addr", "show", "dev", "node", "scope", "link").Output()
			})
			ours := linkLocal(t, func() ([]byte, error) {
				return exec.Command("ip", "-o", "-6", "addr", "show", "dev", uplink, "scope", "link").Output()
			})
			p.Address = theirs.WithZone(uplink)
			r.withBFD(&p)
			if daemon == "BIRD" {
				r.bird(fmt.Sprintf(`protocol bfd { interface "node" { interval 100 ms; multiplier 3; }; }
protocol bgp node {
	local %s as 64513; neighbor %s%%node as 64512; bfd on;
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, theirs, ours))
			} else {
				r.frr(fmt.Sprintf(`router bgp 64513
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor %[2]s remote-as 64512
 neighbor %[2]s interface node
 neighbor %[2]s bfd 3 100 100
 address-family ipv4 unicast
  neighbor %[2]s activate
 address-family ipv6 unicast
  neighbor %[2]s activate
`, r.addr4, ours))
			}
			a := advertise(t)
			a.Set([]bgp.Peer{p}, fullRoutes)
			a.waitUp(p)
			eventually(t, "BFD is up", func() bool { return a.status(p.Name).BFD.State == bfd.Up })
			r.hasRoute(prefix4, r.node4.String())
			r.hasRoute(prefix6, r.node6.String())
			if st := a.status(p.Name); st.Downs != 0 {
				t.Errorf("the session was down: %s", a.logged())
			}
		})
	}
}

// linkLocal waits until there is a link-local address that is in use.
func linkLocal(t testing.TB, show func() ([]byte, error)) (addr netip.Addr) {
	t.Helper()
	eventually(t, "a link-local address", func() bool {
		out, err := show()
		fields := strings.Fields(string(out))
		i := slices.Index(fields, "inet6")
		if err != nil || i < 0 || strings.Contains(string(out), "tentative") {
			return false
		}
		prefix, err := netip.ParsePrefix(fields[i+1])
		addr = prefix.Addr()
		return err == nil
	})
	return addr
}
