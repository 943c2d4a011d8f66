package heartbeat

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// One of a member's links may lose frames at the moment of a crash. The connection on the other one
// tells of it.
func TestSpeakerConnectsToAllAddressesOfAMember(t *testing.T) {
	all, _, _ := loopback(t, "s")
	port := all[0].options.Port
	greeted := make(chan netip.Addr, 2)
	member := Member{Name: "node9"}
	for _, host := range []string{"127.0.0.8", "127.0.0.9"} {
		addr := netip.MustParseAddr(host)
		member.Paths = append(member.Paths, Path{Link: "lo", Local: netip.MustParseAddr("127.0.0.2"), Remote: addr})
		listener, err := net.Listen("tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			if welcome(conn, testKeys("s")) == nil {
				greeted <- addr
			}
		}()
	}
	all[0].Set(t.Context(), []Member{member})
	seen := map[netip.Addr]bool{}
	for range member.Paths {
		select {
		case addr := <-greeted:
			seen[addr] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("connections to %v only", seen)
		}
	}
}
