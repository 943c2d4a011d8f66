package simulate

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// notes returns what an operator should know beside the result.
func notes(c Cluster, change Change, before, after *world) (notes []string) {
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if missing := notAsked(change, before); len(missing) > 0 && len(c.Incomplete) == 0 {
		add("The speakers of %s did not say what they do. What these nodes advertise over BGP is missing here.", list(missing))
	}
	if len(change.Drained) > 0 && c.IgnoresLabel {
		add("The speakers run with --ignore-exclude-label, so a drained node goes on announcing.")
	}
	if still := stillAnnounced(change.Drained, after); len(still) > 0 {
		add("A drained node would still announce %s. These addresses move when its speaker ends.", list(still))
	}
	if len(change.Drained) > 0 {
		add("Connections to pods that are evicted end with the pods. Where these pods start again is not known, so the result has only the other endpoints.")
	}
	if len(change.Lost) > 0 {
		add("Connections to pods on a lost node end. kube-proxy sends new connections to them until Kubernetes notices the death, some 50 s later; with --report-dead-nodes, one second later.")
		if routes := lostRoutes(change.Lost, before); routes > 0 {
			add("The routers use the %d routes of lost nodes until BFD detects the death, or until the hold time is over.", routes)
		}
		if alive := after.alive(); len(alive) == 1 && len(before.alive()) > 1 {
			add("Only the speaker of %s would be left. It goes on announcing only if a witness answers: the IPv4 default gateway, or the API server.", alive[0])
		}
	}
	if change.Config != nil && slices.ContainsFunc(before.nodes, func(node string) bool {
		return !slices.EqualFunc(before.plans[node].Peers, after.plans[node].Peers, sameSession)
	}) {
		add("The result takes for granted that the sessions with changed routers come up. Changed passwords are not compared.")
	}
	return notes
}

// notAsked returns the nodes that may announce, and whose states are missing.
func notAsked(change Change, before *world) (names []string) {
	for _, name := range before.alive() {
		if _, ok := before.states[name]; !ok && !slices.Contains(change.Lost, name) {
			names = append(names, name)
		}
	}
	return names
}

// stillAnnounced returns the addresses that the nodes would still announce.
func stillAnnounced(nodes []string, after *world) (addrs []string) {
	var vips []netip.Addr
	for _, node := range nodes {
		for _, d := range after.plans[node].Decisions {
			if d.Reason == plan.Owner || d.BGP == plan.Advertised && after.hasSession(node) {
				vips = append(vips, d.VIP)
			}
		}
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	for _, vip := range slices.Compact(vips) {
		addrs = append(addrs, vip.String())
	}
	return addrs
}

func lostRoutes(lost []string, before *world) (n int) {
	for _, node := range lost {
		if before.hasSession(node) {
			n += len(before.plans[node].Routes)
		}
	}
	return n
}
