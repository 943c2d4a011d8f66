package spread

import (
	"fmt"
	"net"
	"slices"
)

// ciliumLinks are the names of the interfaces that Cilium makes. Its replacement of kube-proxy takes
// the packets for Services before nftables sees them, so nothing would be forwarded.
var ciliumLinks = []string{"cilium_host", "cilium_net"}

// datapath says which other program takes the packets before nftables; "" for none.
func datapath() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Sprintf("the interfaces of the node cannot be read: %v", err)
	}
	return foreignDatapath(interfaces)
}

func foreignDatapath(interfaces []net.Interface) string {
	for _, i := range interfaces {
		if slices.Contains(ciliumLinks, i.Name) {
			return fmt.Sprintf("the interface %s exists: Cilium takes the packets of Services before nftables", i.Name)
		}
	}
	return ""
}
