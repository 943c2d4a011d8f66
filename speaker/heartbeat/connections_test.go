package heartbeat

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// One of a member's links may lose frames at the moment of a crash. The connection on the other one
// tells of it. The end of the first one arrives when the link works again: it must not be taken for a
// crash of the next process.
func TestOneConnectionOfAProcessEndsAll(t *testing.T) {
	all, _, _ := loopback(t, "s")
	port := all[0].options.Port
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.8"), netip.MustParseAddr("127.0.0.9")}
	member := Member{Name: "node9"}
	var connected []chan net.Conn // by address
	for _, addr := range addrs {
		member.Paths = append(member.Paths, Path{Link: "lo", Local: netip.MustParseAddr("127.0.0.2"), Remote: addr})
		connected = append(connected, acceptGreetings(t, netip.AddrPortFrom(addr, port)))
	}
	all[0].Set(t.Context(), []Member{member})
	next := func(i int) net.Conn {
		t.Helper()
		select {
		case conn := <-connected[i]:
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		case <-time.After(30 * time.Second):
			t.Fatalf("no connection to %v", addrs[i])
			return nil
		}
	}
	first, second := next(0), next(1)
	_ = first.Close()
	_ = second.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the other connection stays open: %v", err)
	}
	next(0)
	next(1)
}

func isTimeout(err error) bool {
	netErr, ok := err.(net.Error)
	return ok && netErr.Timeout()
}

// acceptGreetings accepts connections of a speaker with the key "s".
func acceptGreetings(t *testing.T, on netip.AddrPort) chan net.Conn {
	listener, err := net.Listen("tcp", on.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	connected := make(chan net.Conn, 4)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if welcome(conn, testKeys("s")) == nil {
				connected <- conn
			}
		}
	}()
	return connected
}
