package wire

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFloodDoesNotStopTheAnswers floods a link with ARP while another host asks fifty
// times a second. It prints how many of these requests are answered. Some of them must
// be answered during the flood, and all of them after it.
func TestFloodDoesNotStopTheAnswers(t *testing.T) {
	const floodFor = 3 * time.Second
	for name, target := range map[string]netip.Addr{"for addresses of others": netip.MustParseAddr("198.51.100.9"), "for one of ours": vip4} {
		t.Run(name, func(t *testing.T) {
			w := plug(t, "eth0", mac0)
			start(t, 0, owner(vip4, "eth0"))
			w.settle()
			other := question(t, vip4)
			other[11], other[27] = 0xcd, 0xcd // another host than the one that floods
			flood := question(t, target)
			begun, cpu := time.Now(), used(t)
			sent := make(chan int)
			go func() { sent <- pour(t, flood, 100_000, floodFor) }()
			asked, answered := 0, 0
			for time.Since(begun) < floodFor {
				from := w.count()
				asked++
				w.put(other)
				time.Sleep(20 * time.Millisecond) // the time between two requests of the other host
				for _, f := range w.since(from) {
					if p := parseARP(t, f.bytes); p.TargetHardwareAddr[5] == 0xcd {
						answered++
						break
					}
				}
			}
			n := <-sent
			t.Logf("flood %s: %d frames a second; %d of %d requests of another host answered; CPU time of the process, flood included: %v",
				name, n*int(time.Second)/int(floodFor), answered, asked, (used(t) - cpu).Round(10*time.Millisecond))
			if answered == 0 {
				t.Error("no request of another host was answered")
			}
			w.answer(question(t, vip4))
		})
	}
}

// pour sends a frame from the other end of eth0, perSecond times a second at most,
// and returns how often it was sent.
func pour(t *testing.T, frame []byte, perSecond int, d time.Duration) (n int) {
	ifi, err := net.InterfaceByName("wire-eth0")
	if err != nil {
		t.Error(err)
		return 0
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index}); err != nil {
		t.Error(err)
		return 0
	}
	for begun := time.Now(); time.Since(begun) < d; {
		for due := int(time.Since(begun)) * perSecond / int(time.Second); n < due; n++ {
			if _, err := unix.Write(fd, frame); err != nil {
				break // no room
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
	return n
}

// used returns the CPU time of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
