package members

import "github.com/hashicorp/memberlist"

// delegate tells the others of this member.
type delegate struct{ m *Members }

// NodeMeta leaves out links when there are too many; which is said when they are set.
func (d delegate) NodeMeta(limit int) []byte { return encode(*d.m.self.Load(), limit) }

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// events passes on what memberlist finds out. memberlist calls it with a lock
// held: nothing here may call back or block.
type events struct{ m *Members }

func (e events) NotifyJoin(n *memberlist.Node) {
	e.m.options.Log.Info("speaker joined", "node", n.Name, "addr", n.FullAddress().Addr)
	e.m.met(n, true)
}

func (e events) NotifyLeave(n *memberlist.Node) {
	how := "died"
	if e.m.gone(n.Name) {
		how = "left"
	}
	e.m.options.Log.Info("speaker "+how, "node", n.Name)
}

// NotifyUpdate is called when a member has something else to say of itself.
func (e events) NotifyUpdate(n *memberlist.Node) { e.m.met(n, false) }
