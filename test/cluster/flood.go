package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// floodFrom are the addresses of the client from which a flood comes.
const floodFrom = 64

func floodAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 120, byte(101 + n)}) }

// AddFloodAddresses gives the client on the segment the addresses from which FloodRate sends.
func (c *Cluster) AddFloodAddresses() error {
	for n := range floodFrom {
		if err := ip(fmt.Sprintf("-n %s addr add %v/32 dev eth0", clientName, floodAddr(n))); err != nil {
			return err
		}
	}
	return nil
}

// FloodRate sends small UDP datagrams to a port of vip for some time, as fast as one CPU can, and returns
// how many of them are forwarded in a second. All work happens on that CPU. If through is nil, the
// bridge drops the datagrams before they reach a node: that is the work of the client and the bridge alone.
// Otherwise it drops them when they have passed the node.
func (c *Cluster) FloodRate(ctx context.Context, vip string, port uint16, through *Node, d time.Duration) (perSecond float64, err error) {
	from := clientName
	if through != nil {
		from = through.Name
	}
	if err := run("nft", fmt.Sprintf(`table bridge flood {
	counter passed { }
	chain forward {
		type filter hook forward priority 20
		iifname "%s" ip protocol udp udp dport { 80, %d } counter name passed drop
	}
}`, from, port)); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+clientName, self())
	cmd.Env = append(cmd.Environ(), roleEnv("flood", netip.AddrPortFrom(netip.MustParseAddr(vip), port).String(), d.String())...)
	out, err := cmd.Output()
	passed, passedErr := passedFlood()
	if removed := run("nft", "delete table bridge flood"); err == nil {
		err = removed
	}
	if err == nil {
		err = passedErr
	}
	if err != nil {
		return 0, fmt.Errorf("sending a flood to %s: %w", vip, err)
	}
	seconds, err := strconv.ParseFloat(string(out), 64)
	return float64(passed) / seconds, err
}

// passedFlood returns how many datagrams of a flood the bridge has dropped.
func passedFlood() (n int, err error) {
	out, err := exec.Command("nft", "--json", "list", "counter", "bridge", "flood", "passed").Output()
	if err != nil {
		return 0, err
	}
	return parseCounter(out)
}

// flood sends datagrams to an address for some time, on the first CPU, and prints for how many seconds.
func flood(target, duration string) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	var first unix.CPUSet
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return err
	}
	var sockets []int
	for n := range floodFrom {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: floodAddr(n).As4(), Port: 10000}); err != nil {
			return err
		}
		if err := unix.Connect(socket, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			return err
		}
		sockets = append(sockets, socket)
	}
	datagram := make([]byte, 18)
	begun := time.Now()
	for time.Since(begun) < d {
		for _, socket := range sockets {
			_, _ = unix.Write(socket, datagram) // an error is that of an earlier datagram
		}
	}
	fmt.Print(time.Since(begun).Seconds())
	return nil
}
