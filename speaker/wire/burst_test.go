package wire

import (
	"net"
	"testing"
	"time"

	"github.com/mdlayher/arp"
)

// schedule is when a takeover is announced.
var schedule = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second}

func TestTakeoverIsAnnouncedExactlySixTimes(t *testing.T) {
	w := plug(t, "eth0", mac0)
	begun := time.Now()
	n := start(t, 0, owner(vip4, "eth0"), owner(vip6, "eth0"))
	eventually(t, "the whole burst", func() bool { return w.count() >= 3*len(schedule) })
	// Set gets the same again. Nothing has changed.
	for range 100 {
		n.apply()
	}
	time.Sleep(2 * time.Second) // no further frame should come
	var arps, nas []frame
	for _, f := range w.since(0) {
		if f.bytes[12] == 0x08 {
			arps = append(arps, f)
		} else {
			nas = append(nas, f)
		}
	}
	if len(arps) != 2*len(schedule) || len(nas) != len(schedule) {
		t.Fatalf("%d ARP and %d NDP frames", len(arps), len(nas))
	}
	for i, at := range schedule {
		request, reply := parseARP(t, arps[2*i].bytes), parseARP(t, arps[2*i+1].bytes)
		if request.Operation != arp.OperationRequest || request.SenderIP != vip4 || request.TargetIP != vip4 || net.HardwareAddr(arps[2*i].bytes[:6]).String() != everyone.String() {
			t.Errorf("at %v first comes %+v", at, request)
		}
		if reply.Operation != arp.OperationReply || reply.SenderIP != vip4 || reply.TargetHardwareAddr.String() != reply.SenderHardwareAddr.String() {
			t.Errorf("at %v then comes %+v", at, reply)
		}
		if na := parseNA(t, nas[i].bytes); na.Solicited || !na.Override || na.TargetAddress != vip6 {
			t.Errorf("at %v comes %+v", at, na)
		}
		// It must not come too early. How late it comes depends on the machine.
		if early := arps[2*i].at.Sub(begun); early < at {
			t.Errorf("announcement %d came after %v, not %v", i+1, early, at)
		}
	}
}

func TestRefreshIsSentAtItsInterval(t *testing.T) {
	w := plug(t, "eth0", mac0)
	start(t, 200*time.Millisecond, owner(vip6, "eth0"))
	eventually(t, "the burst and three refreshes", func() bool { return w.count() >= len(schedule)+3 })
}
