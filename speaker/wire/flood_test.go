package wire

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFloodDoesNotStopTheAnswers floods a link with ARP while somebody else asks
// politely, fifty times a second. How many of these are answered is printed; that
// some are, and all afterwards, is what must be.
func TestFloodDoesNotStopTheAnswers(t *testing.T) {
	const floodFor = 3 * time.Second
	for name, target := range map[string]netip.Addr{"for addresses of others": netip.MustParseAddr("198.51.100.9"), "for one of ours": vip4} {
		t.Run(name, func(t *testing.T) {
			w := plug(t, "eth0", mac0)
			start(t, 0, owner(vip4, "eth0"))
			w.settle()
			polite := question(t, vip4)
			polite[11], polite[27] = 0xcd, 0xcd // another host than the one that floods
			flood := question(t, target)
			begun, cpu := time.Now(), used(t)
			sent := make(chan int)
			go func() { sent <- pour(t, flood, 100_000, floodFor) }()
			asked, answered := 0, 0
			for time.Since(begun) < floodFor {
				from := w.count()
				asked++
				w.put(polite)
				time.Sleep(20 * time.Millisecond) // the pace of the questions
				for _, f := range w.since(from) {
					if p := parseARP(t, f.bytes); p.TargetHardwareAddr[5] == 0xcd {
						answered++
						break
					}
				}
			}
			n := <-sent
			t.Logf("flood %s: %d frames a second; %d of %d polite questions answered; CPU time of all, flooding too: %v",
				name, n*int(time.Second)/int(floodFor), answered, asked, (used(t) - cpu).Round(10*time.Millisecond))
			if answered == 0 {
				t.Error("nobody else was answered")
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

// used is the CPU time of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
