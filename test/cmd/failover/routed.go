package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// mode is a way in which the router detects that a node is dead.
type mode struct {
	name string
	bfd  time.Duration
	peer string // keys of the peer in the configuration
	// of divides the number of kills, because a kill takes longer in slower modes.
	of int
}

var modes = []mode{
	{"BFD 3 x 100 ms", 100 * time.Millisecond, ", bfd-profile: fast", 1},
	{"BFD 3 x 300 ms", 300 * time.Millisecond, ", bfd-profile: default", 2},
	{"hold-time 9 s", 0, ", hold-time: 9s", 4},
}

// strikeRouted kills one node after the other, while a client behind a router requests
// pages over all nodes.
func strikeRouted(ctx context.Context, c *cluster.Cluster, o options) error {
	fmt.Printf("\nBGP: a client behind %s, which spreads its requests over %d nodes; one node loses power\n", o.router, o.speakers)
	fmt.Println("                 times   requests fail until    requests")
	fmt.Println("                          p50   p99   max       lost (most)")
	for _, m := range modes {
		if err := strikeMode(ctx, c, m, o); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// strikeMode measures one mode, and prints a line of the table.
func strikeMode(ctx context.Context, c *cluster.Cluster, m mode, o options) error {
	r, err := c.StartRouter(ctx, cluster.RouterOptions{Daemon: o.router, BFD: m.bfd})
	if err != nil {
		return err
	}
	defer r.Close()
	text := fmt.Sprintf(`peers: [{name: router, my-asn: %d, peer-asn: %d, peer-address: %s%s}]
bfd-profiles: [{name: fast, receive-interval: 100, transmit-interval: 100}, {name: default}]
address-pools: [{name: routed, protocol: bgp, addresses: [192.168.120.200-192.168.120.250]}]
`, cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4, m.peer)
	if err := c.SetPools(ctx, text); err != nil {
		return err
	}
	vip, err := c.Kubectl(ctx, "get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	if err != nil {
		return err
	}
	if err := allRouted(ctx, c, r, vip, m); err != nil {
		return err
	}
	probe, err := r.StartProbe(vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	var outages []time.Duration
	most := 0
	for i := range max(1, o.kills/m.of) {
		n := c.Nodes()[i%o.speakers]
		// Wait before each kill, with a varying time, so that kills hit all phases of the
		// intervals between packets.
		time.Sleep(time.Duration(1000+137*i%500) * time.Millisecond)
		outage, lost, err := strikeNode(ctx, c, r, n, vip, probe)
		if err != nil {
			return err
		}
		outages, most = append(outages, outage), max(most, lost)
		if err := n.Revive(); err != nil {
			return err
		}
		if err := allRouted(ctx, c, r, vip, m); err != nil {
			return err
		}
	}
	fmt.Printf("%-14s   %5d   %s      %8d\n", m.name, len(outages), quantiles(outages), most)
	return nil
}

// strikeNode kills a node. It returns how many requests failed, and when the last of them
// began, as the time after the kill. The first request that succeeds says nothing here,
// because only some of the requests are sent to the dead node.
func strikeNode(ctx context.Context, c *cluster.Cluster, r *cluster.Router, n *cluster.Node, vip string, probe *cluster.Probe) (outage time.Duration, lost int, err error) {
	begun := time.Now()
	if err := n.Kill(); err != nil {
		return 0, 0, err
	}
	if err := c.Wait(ctx, "the router to remove the routes over the node", func() bool {
		hops, err := r.NextHops(vip)
		return err == nil && len(hops) == len(c.Nodes())-1
	}); err != nil {
		return 0, 0, err
	}
	// The requests that have begun before need less than a second to end.
	over := time.Now()
	if err := c.Wait(ctx, "the requests that have not ended", func() bool { return time.Since(over) > time.Second }); err != nil {
		return 0, 0, err
	}
	for _, a := range probe.Attempts(begun) {
		if !a.OK {
			lost++
			outage = max(outage, a.Start.Sub(begun))
		}
	}
	return outage, lost, nil
}

// allRouted waits until the router sends packets over every node, and has a BGP session
// with every node, with BFD if the mode uses it.
func allRouted(ctx context.Context, c *cluster.Cluster, r *cluster.Router, vip string, m mode) error {
	return c.Wait(ctx, "the router to use all nodes", func() bool {
		hops, err := r.NextHops(vip)
		if err != nil || len(hops) != len(c.Nodes()) {
			return false
		}
		for _, n := range c.Nodes() {
			text, err := n.Get(ctx, "/debug/bgp")
			if err != nil || !strings.Contains(text, "state=ESTABLISHED") || m.bfd > 0 && !strings.Contains(text, "bfd=Up") {
				return false
			}
		}
		return true
	})
}
