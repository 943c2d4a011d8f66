package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
)

// segment4 returns a TCP segment from a client's port with these flags.
func segment4(to net.HardwareAddr, vip netip.Addr, port uint16, ttl, flags byte) []byte {
	f := append(append(append([]byte{}, to...), client...), 0x08, 0x00)
	ip := make([]byte, 40)
	ip[0], ip[3], ip[8], ip[9] = 0x45, 40, ttl, 6
	copy(ip[12:], client4.AsSlice())
	copy(ip[16:], vip.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], sum16(ip[:20], 0))
	binary.BigEndian.PutUint16(ip[20:], port)
	ip[23], ip[32], ip[33] = 80, 0x50, flags // to port 80, no options
	pseudo := uint32(6 + 20)
	for _, a := range [][]byte{ip[12:14], ip[14:16], ip[16:18], ip[18:20]} {
		pseudo += uint32(binary.BigEndian.Uint16(a))
	}
	binary.BigEndian.PutUint16(ip[36:], sum16(ip[20:], pseudo))
	return append(f, ip...)
}

const (
	fin = 0x01
	ack = 0x10
)

func sum16(data []byte, sum uint32) uint16 {
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// A segment of an unknown connection that is not handed on gets a reset from a pod, and breaks the
// connection.
func TestSpreadRulesHaveNoGapWhenTheyAreReplaced(t *testing.T) {
	w := plug(t, "eth0", mac0)
	ip(t, "addr add 192.0.2.9/24 dev eth0")
	ip(t, "neigh replace "+second4.String()+" lladdr 02:00:00:00:00:22 dev eth0")
	nft(t, "add table ip late { chain prerouting { type filter hook prerouting priority -150; ip daddr 192.0.2.7 counter; }; }")
	t.Cleanup(func() { nft(t, "delete table ip late") })
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	all := &spread.Table{Ring: 3}
	for slot := range election.Slots {
		all.Next[slot] = second4
	}
	wanted := spread.Wanted{Links: map[string]int{"eth0": ifi.Index}, Members: [][6]byte{{2, 0, 0, 0, 0, 0x22}}, VIPs: []spread.VIP{{Addr: vip4, Link: "eth0", Table: all}}}
	s := startSpreader(t)
	s.Set(wanted)
	eventually(t, "the rules are written", s.hasRules)
	passed := func() (packets int) {
		out, err := exec.Command("nft", "list", "table", "ip", "late").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(regexp.MustCompile(`packets \d+`).FindString(string(out)), "packets %d", &packets); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return packets
	}
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for port := uint16(1024); ; port++ {
			select {
			case <-stop:
				return
			default:
				w.put(segment4(net.HardwareAddr{2, 0, 0, 0, 0, 0x10}, vip4, port, 64, ack))
			}
		}
	})
	const replacements = 10
	for range replacements {
		s.stop()
		s = startSpreader(t)
		s.Set(wanted)
		eventually(t, "the next speaker has written the rules", s.hasRules)
	}
	close(stop)
	flood.Wait()
	// A segment that a CPU had already begun to look at may pass while the kernel changes the rules.
	if got := passed(); got > replacements*runtime.NumCPU() {
		t.Errorf("%d segments were not handed on", got)
	}
	if !regexp.MustCompile(`counter packets [1-9]`).MatchString(listedCounters(t)) {
		t.Error("no segment was handed on")
	}
}

func listedCounters(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "table", "ip", spread.TableName).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
