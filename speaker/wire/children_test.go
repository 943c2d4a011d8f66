package wire

import (
	"net"
	"testing"

	"github.com/mdlayher/arp"
)

// The kernel gives a frame of a macvlan or VLAN to the sockets of the parent link, too, in the
// same way. This kernel may have no VLANs, so the test takes a macvlan.
func TestParentDoesNotAnswerForItsChild(t *testing.T) {
	w := plug(t, "eth0", mac0)
	child := net.HardwareAddr{2, 0, 0, 0, 0, 0x77}
	ip(t, "link add link eth0 name child7 address "+child.String()+" type macvlan mode bridge")
	ip(t, "link set child7 up")
	n := start(t, 0, owner(vip4, "eth0"))
	n.applyWhen("child7", has("child7"))
	w.settle()
	toChild := arpFrame(t, arp.OperationRequest, child, client, client4, vip4)
	w.silence("a question to the child", question(t, vip4), toChild, toChild)
}
