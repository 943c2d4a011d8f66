package wire

import (
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

func TestLinkChangesAreFollowed(t *testing.T) {
	w := plug(t, "eth0", mac0)
	n := start(t, 0, owner(vip4, "eth0", "eth1", "new0", "br0"), owner(vip6, "eth0", "eth1", "new0", "br0"))
	w.settle()
	ask := func(w *wire, mac string) {
		t.Helper()
		seen := w.count()
		w.put(question(t, vip4))
		w.put(solicitation(t, nil, client6, netip.Addr{}, vip6))
		eventually(t, "both families are answered by "+mac, func() bool {
			arps, nas := 0, 0
			for _, f := range w.since(seen) {
				switch {
				case f.bytes[12] == 0x08:
					if p := parseARP(t, f.bytes); p.TargetIP == client4 && p.SenderHardwareAddr.String() == mac {
						arps++
					}
				default:
					if na := parseNA(t, f.bytes); na.Solicited {
						nas++
					}
				}
			}
			return arps > 0 && nas > 0
		})
	}

	t.Run("as it is, without an address", func(t *testing.T) { ask(w, mac0) })
	t.Run("another MAC address", func(t *testing.T) {
		ip(t, "link set eth0 address 02:00:00:00:00:20")
		n.applyWhen("the new MAC address", func(ls []links.Link) bool { return len(ls) > 0 && ls[0].MAC[5] == 0x20 })
		ask(w, "02:00:00:00:00:20")
	})
	t.Run("carrier lost and back", func(t *testing.T) {
		ip(t, "link set wire-eth0 down")
		n.applyWhen("no carrier", hasNot("eth0"))
		ip(t, "link set wire-eth0 up")
		n.applyWhen("carrier", has("eth0"))
		ask(w, "02:00:00:00:00:20")
	})
	t.Run("renamed", func(t *testing.T) {
		ip(t, "link set eth0 down")
		n.applyWhen("eth0 is down", hasNot("eth0"))
		ip(t, "link set eth0 name new0")
		ip(t, "link set new0 up")
		n.applyWhen("the new name", has("new0"))
		ask(w, "02:00:00:00:00:20")
	})
	t.Run("added", func(t *testing.T) {
		w1 := plug(t, "eth1", mac1)
		n.applyWhen("eth1", has("eth1"))
		ask(w1, mac1)
		ask(w, "02:00:00:00:00:20")
	})
	t.Run("removed", func(t *testing.T) {
		n.applyWhen("eth1 is gone", hasNot("eth1"))
		ask(w, "02:00:00:00:00:20")
	})
	t.Run("made a port of a bridge", func(t *testing.T) {
		ip(t, "link add br0 address 02:00:00:00:00:30 type bridge forward_delay 0 mcast_snooping 0")
		t.Cleanup(func() { ip(t, "link del br0") })
		ip(t, "link set br0 up")
		ip(t, "link set new0 master br0")
		n.applyWhen("the bridge instead of its port", func(ls []links.Link) bool { return has("br0")(ls) && hasNot("new0")(ls) })
		ask(w, "02:00:00:00:00:30")
	})
}
