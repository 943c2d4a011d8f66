package wire

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// Each problem is with one router. The session with another router must not be affected.
func TestBGPSessionProblemsAreExplained(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		for _, test := range []struct {
			name string
			// router changes the configuration of the router.
			router func(p *bgp.Peer)
			// speaker changes the peer of the speaker. internal is set if both are in one AS.
			speaker  func(p *bgp.Peer)
			internal bool
			words    []string
			// once is set if the router's daemon has no influence: it is tested with BIRD only.
			once bool
		}{
			{name: "the router is of another AS", router: func(p *bgp.Peer) { p.ASN = 64599 }, words: []string{"is not in AS 64513", "peer-asn"}},
			{name: "the router expects another AS", router: func(p *bgp.Peer) { p.MyASN = 64598 }, words: []string{"another AS than our 64512"}},
			{name: "passwords differ", router: func(p *bgp.Peer) { p.Password = "a" }, speaker: func(p *bgp.Peer) { p.Password = "b" }, words: []string{"does not answer", "password differs"}},
			{name: "only the router has a password", router: func(p *bgp.Peer) { p.Password = "a" }, words: []string{"does not answer", "password differs"}},
			{name: "only the node has ttl-security", speaker: func(p *bgp.Peer) { p.TTLSecurity = true }, words: []string{"sends nothing", "ttl-security"}},
			{name: "no process listens", speaker: func(p *bgp.Peer) { p.Port = 1179 }, words: []string{"no process listens at", "port 1179"}, once: true},
			{name: "no host has the address", speaker: func(p *bgp.Peer) { p.Address = netip.MustParseAddr("198.51.100.99") }, words: []string{"198.51.100.99", "unreachable"}, once: true},
			{name: "the source is not ours", speaker: func(p *bgp.Peer) { p.Source = netip.MustParseAddr("198.51.100.77") }, words: []string{"198.51.100.77 is no address of this node", "source-address"}, once: true},
			{name: "the router has our router ID", speaker: func(p *bgp.Peer) { p.RouterID = p.Address }, internal: true, words: []string{"router ID"}},
		} {
			if test.once && daemon != "BIRD" {
				continue
			}
			t.Run(daemon+": "+test.name, func(t *testing.T) {
				r, other := wireRouter(t, 0), wireRouter(t, 1)
				p, o := r.peer("troubled", test.internal, true), other.peer("other", false, true)
				theirs := p
				if test.router != nil {
					test.router(&theirs)
				}
				r.start(daemon, theirs)
				other.start("BIRD", o)
				if test.speaker != nil {
					test.speaker(&p)
				}
				a := advertise(t)
				a.Set([]bgp.Peer{p, o}, fullRoutes)
				a.waitUp(o)
				a.problem(p.Name, test.words...)
				if st := a.status(o.Name); st.Downs != 0 || st.Ups != 1 {
					t.Errorf("the other session has changed: %+v", st)
				}
			})
		}
	}
}

func TestBGPSessionComesUpAgainAfterARouterRestart(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, other := wireRouter(t, 0), wireRouter(t, 1)
			p, o := r.peer("restarting", false, true), other.peer("other", false, true)
			r.start(daemon, p)
			other.start("FRR", o)
			a := advertise(t)
			a.Set([]bgp.Peer{p, o}, fullRoutes)
			a.waitUp(p, o)
			r.kill()
			eventually(t, "the session is down", func() bool { st := a.status(p.Name); return st.Downs == 1 && !st.Up })
			if why := a.status(p.Name).Problem; why == "" {
				t.Error("nothing says why")
			}
			r.start(daemon, p)
			a.waitUp(p)
			r.hasRoute(prefix4)
			if st := a.status(o.Name); st.Downs != 0 || st.Ups != 1 {
				t.Errorf("the other session has changed: %+v", st)
			}
			other.hasRoute(prefix4)
		})
	}
}

func TestPeerChangeTouchesNoOtherPeer(t *testing.T) {
	r, other := wireRouter(t, 0), wireRouter(t, 1)
	p, o := r.peer("changed", false, true), other.peer("other", false, true)
	r.start("BIRD", p)
	other.start("BIRD", o)
	a := advertise(t)
	a.Set([]bgp.Peer{p, o}, fullRoutes)
	a.waitUp(p, o)
	before := a.status(o.Name)

	p.RouterID = netip.MustParseAddr("192.0.2.99")
	a.Set([]bgp.Peer{p, o}, fullRoutes)
	r.says("show protocols all node", "Neighbor ID:      192.0.2.99")
	a.waitUp(p)
	r.hasRoute(prefix4)

	routes := []bgp.Route{{Prefix: prefix4, Peers: []string{"other"}}, {Prefix: wide4, Peers: []string{"changed"}}}
	a.Set([]bgp.Peer{p, o}, routes)
	r.hasNoRoute(prefix4)
	r.hasRoute(wide4)
	other.hasNoRoute(wide4)
	other.hasRoute(prefix4)

	a.Set([]bgp.Peer{o}, routes)
	r.hasNoRoute(wide4)
	other.hasRoute(prefix4)
	if after := a.status(o.Name); after.Since != before.Since || after.Ups != 1 || len(a.Status()) != 1 {
		t.Errorf("the other session has changed: %+v", after)
	}
}

func TestAnnouncerLeavesNothingRunning(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	r.withBFD(&p)
	r.startWithBFD("BIRD", p)
	before := runtime.NumGoroutine()
	a := advertise(t)
	unreachable := p
	unreachable.Name, unreachable.Address = "unreachable", netip.MustParseAddr("198.51.100.99")
	unreachable.BFD.Peer = unreachable.Address
	for range 3 {
		a.Set([]bgp.Peer{p, unreachable}, fullRoutes)
		a.waitUp(p)
		a.Set(nil, nil)
		eventually(t, "there is no session", func() bool { return len(a.Status()) == 0 })
	}
	a.stop()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// Routers advertise the routes of the nodes to each other, and so back to the nodes. These
// routes can have a higher local preference than the node's own.
func TestRoutesOfARouterDoNotCompeteWithOurs(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", true, true)
	r.bird(fmt.Sprintf(`protocol static { ipv4; route %s unreachable { bgp_local_pref = 500; }; }
protocol bgp node {
	local %s as %d; neighbor %s as %d;
	ipv4 { import all; export all; };
}
`, prefix4, p.Address, p.ASN, r.node4, p.MyASN))
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	r.says("show protocols all node", "1 exported")
	a.Set([]bgp.Peer{p}, append([]bgp.Route{{Prefix: netip.MustParsePrefix("203.0.113.64/26")}}, fullRoutes...)) // when the router has it, the speaker has compared all routes
	r.hasRoute(netip.MustParsePrefix("203.0.113.64/26"))
	r.hasRoute(prefix4, "from "+r.node4.String(), "BGP.local_pref: 150")
}

func TestPrefixesOfAnUnsupportedFamilyAreWithheld(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	r.bird(fmt.Sprintf(`protocol bgp node {
	local %s as %d; neighbor %s as %d;
	ipv4 { import all; export none; };
}
`, p.Address, p.ASN, r.node4, p.MyASN))
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	r.hasRoute(prefix4)
	if st := a.status(p.Name); st.Prefixes != 2 || st.Withheld != 2 {
		t.Errorf("%d prefixes, %d withheld; there are two of IPv4, and two of IPv6", st.Prefixes, st.Withheld)
	}
}

// The test reads the examples of docs/guides/routers.md with the parsers of FRR and BIRD.
func TestRouterExamplesAreUnderstood(t *testing.T) {
	page, err := os.ReadFile("../../docs/guides/routers.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "baremetal-router-") // bgpd reads it as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // no later test needs it
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	head := map[string]string{"BIRD": "router id 192.0.2.1;\n"} // for a machine without an address
	for daemon, check := range map[string][]string{"FRR": {"/usr/lib/frr/bgpd", "-C", "-f"}, "BIRD": {"bird", "-p", "-c"}} {
		_, rest, _ := strings.Cut(string(page), "\n"+daemon+":\n\n```\n")
		example, _, ok := strings.Cut(rest, "```\n")
		if !ok {
			t.Fatalf("there is no example for %s", daemon)
		}
		file := filepath.Join(dir, daemon)
		if err := os.WriteFile(file, []byte(head[daemon]+example), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(check[0], append(check[1:], file)...).CombinedOutput()
		if err != nil || len(out) > 0 { // bgpd prints errors, but its exit status is 0
			t.Errorf("%s: %v: %s\n%s", daemon, err, out, example)
		}
	}
}
