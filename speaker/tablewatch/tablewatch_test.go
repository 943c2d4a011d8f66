package tablewatch

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestOnlyTheRemovalOfAnOwnTableCounts(t *testing.T) {
	message := func(kind uint16, table string) netlink.Message {
		name, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: []byte(table + "\x00")}})
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, name...)}
	}
	const removed = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE
	w := New(Options{Tables: []string{"ours"}})
	for name, tt := range map[string]struct {
		message netlink.Message
		want    bool
	}{
		"our table":              {message(removed, "ours"), true},
		"another table":          {message(removed, "kube-proxy"), false},
		"a longer name":          {message(removed, "ours-too"), false},
		"a new table":            {message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, "ours"), false},
		"no attributes":          {netlink.Message{Header: netlink.Header{Type: removed}, Data: []byte{2}}, false},
		"attributes without end": {netlink.Message{Header: netlink.Header{Type: removed}, Data: []byte{2, 0, 0, 0, 99, 0, 1, 0}}, true},
	} {
		if got := w.removes(tt.message); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
