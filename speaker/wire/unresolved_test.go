package wire

import (
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// The kernel has asked in vain for the router's MAC address, and would ask again after a second at the earliest.
func TestResolverFindsARouterThatAnswersAgain(t *testing.T) {
	r := wireRouter(t, 0)
	silence := func(value string) {
		if out, err := r.in("sysctl", "-w", "net.ipv4.conf.node.arp_ignore="+value).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	silence("8") // it answers for no address
	ip(t, "neigh flush dev router-0")
	// The kernel must not give up or ask again during the test.
	for _, setting := range []string{"retrans_time_ms=60000", "mcast_solicit=3"} {
		if out, err := exec.Command("sysctl", "-w", "net.ipv4.neigh.router-0."+setting).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	conn, err := net.Dial("udp", netip.AddrPortFrom(r.addr4, 9).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	ls, err := links.List(wires, nil)
	if err != nil {
		t.Fatal(err)
	}
	isUnresolved := func() bool {
		unresolved, err := links.Unresolved(ls)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range unresolved {
			if n.Addr == r.addr4 && n.Link == "router-0" && n.Local == r.node4 {
				return true
			}
		}
		return false
	}
	if !isUnresolved() {
		t.Fatal("the kernel does not look for the router")
	}
	resolver := view.NewResolver(func() map[string]bool { return map[string]bool{"router-0": true} }, wires, startProber(t).Prober, slog.New(slog.DiscardHandler))
	t.Cleanup(run(t, resolver.Run))
	silence("0")
	for deadline := time.Now().Add(10 * time.Second); isUnresolved(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the router is not found")
		}
	}
	out, err := exec.Command("ip", "neigh", "show", r.addr4.String()).Output()
	if err != nil || !strings.Contains(string(out), "lladdr") {
		t.Errorf("%s %v", out, err)
	}
}
