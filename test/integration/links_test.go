package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// node1 and node2 have a second network, with the addresses of the Services. node3 has none.
func TestAddressIsAnnouncedOnItsOwnNetworkOnly(t *testing.T) {
	f := setUp(t)
	node1, node2 := f.cluster.Node("node1"), f.cluster.Node("node2")
	segment, err := f.cluster.AddSegment(node1, node2)
	f.must(err)
	f.Cleanup(func() { f.must(segment.Remove()) })
	f.pools("address-pools: [{name: data, protocol: layer2, addresses: [10.77.0.100-10.77.0.107]}]")
	f.eventually("both nodes have told their networks", func() bool {
		text := f.kubectl("-n", "baremetal-system", "get", "configmap", "config-nodes", "-o", "jsonpath={.data.node1}{.data.node2}")
		return strings.Count(text, `"data":["10.77.0.0/24"]`) == 2
	})
	vips, askers := []string{}, map[string]*cluster.Asker{}
	for i := range 6 {
		name := fmt.Sprint("data", i)
		f.create(service(name))
		vips = append(vips, f.assigned(name))
	}
	for _, vip := range vips {
		if owner := f.announcer(vip); owner != node1 && owner != node2 {
			f.Errorf("%s owns %s without a link on its network", owner.Name, vip)
		}
		asker, err := segment.Ask(vip, 20*time.Millisecond)
		f.must(err)
		f.Cleanup(asker.Stop)
		askers[vip] = asker
	}
	answeredBy := func(vip string, n *cluster.Node, since time.Time) bool {
		all := askers[vip].Since(since)
		return len(all) > 0 && slices.Equal(all[len(all)-1].MACs, []string{segment.MAC(n)})
	}
	for _, vip := range vips {
		owner := f.announcer(vip)
		f.eventually(vip+" is answered by its owner", func() bool { return answeredBy(vip, owner, time.Time{}) })
		macs, err := f.cluster.WhoHas(vip, 100*time.Millisecond)
		f.must(err)
		if len(macs) > 0 {
			f.Errorf("%v answer for %s on another network", macs, vip)
		}
	}

	// The data link of node1 loses its carrier. Its other link lives.
	cut := time.Now()
	f.must(segment.Cut(node1))
	for _, vip := range vips {
		f.eventually("node2 answers for "+vip, func() bool { return answeredBy(vip, node2, cut) && f.announcer(vip) == node2 })
	}
	f.eventually("the last answers are in", func() bool { return time.Since(cut) > time.Second })
	for _, vip := range vips {
		f.Logf("%s was not answered for %v", vip, askers[vip].LongestSilence(cut))
	}
	// The data link of node2 does, too. Then no node may announce the addresses elsewhere.
	f.must(segment.Cut(node2))
	f.says("data0", "lb.baremetal/Announced", "False", "NoLink", "10.77.0.0/24")
	for _, vip := range vips {
		macs, err := f.cluster.WhoHas(vip, 100*time.Millisecond)
		f.must(err)
		if len(macs) > 0 {
			f.Errorf("%v answer for %s on another network", macs, vip)
		}
	}
	back := time.Now()
	f.must(segment.Mend(node1))
	f.must(segment.Mend(node2))
	for _, vip := range vips {
		owner := f.announcer(vip)
		f.eventually(owner.Name+" answers for "+vip, func() bool { return answeredBy(vip, owner, back) })
	}
}
