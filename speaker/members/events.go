package members

import (
	"bytes"
	"strconv"

	"github.com/hashicorp/memberlist"
)

// silentMeta is what a member that announces nothing says of itself; the others
// say nothing, so that there is room for more to say later.
var silentMeta = []byte("silent")

// delegate tells the others of this member.
type delegate struct{ m *Members }

func (d delegate) NodeMeta(int) []byte {
	if d.m.silent.Load() {
		return silentMeta
	}
	return nil
}

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// events passes on what memberlist finds out. memberlist calls it with a lock
// held: nothing here may call back or block.
type events struct{ m *Members }

func (e events) NotifyJoin(n *memberlist.Node) {
	e.m.options.Log.Info("speaker joined", "node", n.Name, "addr", n.Addr.String()+":"+strconv.Itoa(int(n.Port)))
	e.m.others.Store(n.Name, bytes.Equal(n.Meta, silentMeta))
	e.m.arrived.Add(1)
	e.m.options.Changed()
}

func (e events) NotifyLeave(n *memberlist.Node) {
	how := "died"
	if n.State == memberlist.StateLeft {
		how = "left"
	}
	e.m.others.Delete(n.Name)
	e.m.options.Log.Info("speaker "+how, "node", n.Name)
	e.m.options.Changed()
}

// NotifyUpdate is called when a member has something else to say of itself.
func (e events) NotifyUpdate(n *memberlist.Node) {
	e.m.others.Store(n.Name, bytes.Equal(n.Meta, silentMeta))
	e.m.options.Changed()
}
