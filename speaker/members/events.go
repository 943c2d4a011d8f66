package members

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// delegate gives memberlist this member's profile.
type delegate struct{ m *Members }

// NodeMeta returns the profile. It leaves out links that do not fit; SetProfile
// logs that.
func (d delegate) NodeMeta(limit int) []byte { return encode(*d.m.self.Load(), limit) }

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// events receives what a memberlist detects, until it has ended. memberlist calls it with
// a lock held, so nothing here may call memberlist or block.
type events struct {
	m     *Members
	ended *atomic.Bool
}

func (e events) NotifyJoin(n *memberlist.Node) {
	if e.ended.Load() {
		return
	}
	e.m.options.Log.Info("speaker joined", "node", n.Name, "address", n.FullAddress().Addr)
	e.m.update(n, true)
}

func (e events) NotifyLeave(n *memberlist.Node) {
	if !e.ended.Load() {
		e.m.died(n.Name)
	}
}

// NotifyUpdate is called when a member has changed its profile.
func (e events) NotifyUpdate(n *memberlist.Node) {
	if !e.ended.Load() {
		e.m.update(n, false)
	}
}

// toAddr returns an address of memberlist, which has checked it.
func toAddr(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
