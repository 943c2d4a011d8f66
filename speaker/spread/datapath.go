package spread

import (
	"fmt"
	"net"
)

// datapaths are programs that take the packets for Services before nftables sees them, so that
// nothing would be forwarded, by the names of interfaces that they make.
var datapaths = map[string]string{
	"cilium_host": "Cilium", "cilium_net": "Cilium",
	"bpfin.cali": "Calico's eBPF dataplane", "bpfout.cali": "Calico's eBPF dataplane",
}

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
		if name, found := datapaths[i.Name]; found {
			return fmt.Sprintf("the interface %s exists: %s takes the packets of Services before nftables", i.Name, name)
		}
	}
	return ""
}
