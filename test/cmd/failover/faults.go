package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// fault is a way in which a node fails, and the way to repair it.
type fault struct {
	name   string
	strike func(*cluster.Cluster, *cluster.Node) error
	undo   func(context.Context, *cluster.Cluster, *cluster.Node) error
}

var allFaults = []fault{
	{"power", func(_ *cluster.Cluster, n *cluster.Node) error { return n.Kill() },
		func(_ context.Context, _ *cluster.Cluster, n *cluster.Node) error { return n.Revive() }},
	{"crash", func(_ *cluster.Cluster, n *cluster.Node) error { n.Speaker().Kill(); return nil },
		func(ctx context.Context, _ *cluster.Cluster, n *cluster.Node) error { return n.StartSpeaker(ctx) }},
	{"freeze", func(_ *cluster.Cluster, n *cluster.Node) error { n.Freeze(); return nil },
		func(_ context.Context, _ *cluster.Cluster, n *cluster.Node) error { n.Thaw(); return nil }},
	{"ingress", func(_ *cluster.Cluster, n *cluster.Node) error { return n.Deafen() }, heal},
	{"egress", func(_ *cluster.Cluster, n *cluster.Node) error { return n.Mute() }, heal},
	{"partition", func(c *cluster.Cluster, n *cluster.Node) error { return c.Partition(n) }, heal},
}

// heal undoes a fault of the network segment.
func heal(_ context.Context, c *cluster.Cluster, _ *cluster.Node) error { return c.Heal() }

// names returns the names of all kinds of faults.
func names() (names []string) {
	for _, f := range allFaults {
		names = append(names, f.name)
	}
	return names
}

// choose returns the faults of the flag -kinds.
func choose(kinds string) (chosen []fault, err error) {
	if kinds == "all" {
		return allFaults, nil
	}
	for _, kind := range strings.Split(kinds, ",") {
		i := slices.IndexFunc(allFaults, func(f fault) bool { return f.name == kind })
		if i < 0 {
			return nil, fmt.Errorf("-kinds: there is no kind %q; write all, or some of %s", kind, strings.Join(names(), ", "))
		}
		chosen = append(chosen, allFaults[i])
	}
	return chosen, nil
}

// result is the effect of one fault on a client.
type result struct {
	outage  time.Duration // from the fault until a request succeeds again; 0 if no request failed
	answer  time.Duration // from the fault until another node answers ARP for the address
	lost    int           // failed requests
	twoDown time.Duration // for how long two nodes answered ARP after the fault
	twoBack time.Duration // for how long two nodes answered ARP after the repair
}

// strikeAll makes every kind of fault several times. Each fault hits the owner of vip. The
// pod runs on another node, so that only the takeover is measured.
func strikeAll(ctx context.Context, c *cluster.Cluster, vip string, o options) error {
	probe, err := c.StartProbe(vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	asker, err := c.Ask(vip, 10*time.Millisecond)
	if err != nil {
		return err
	}
	defer asker.Stop()
	fmt.Println("          times   another node     requests fail    requests   two nodes answer (most)")
	fmt.Println("                  answers after    until            lost       after the   after")
	fmt.Println("                   p50  p99  max    p50  p99  max   (most)     fault       its end")
	for _, f := range o.faults {
		var results []result
		for i := range o.kills {
			// Wait before each fault, so that the repair of the last fault is over.
			time.Sleep(time.Duration(1000+137*i%500) * time.Millisecond)
			r, err := strike(ctx, c, vip, f, probe, asker)
			if err != nil {
				return fmt.Errorf("%s, time %d: %w", f.name, i+1, err)
			}
			results = append(results, r)
		}
		say(f.name, results)
	}
	return nil
}

// strike makes one fault, measures its effect, and repairs it.
func strike(ctx context.Context, c *cluster.Cluster, vip string, f fault, probe *cluster.Probe, asker *cluster.Asker) (r result, err error) {
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return r, err
	}
	begun := time.Now()
	if err := f.strike(c, owner); err != nil {
		return r, err
	}
	if err := c.Wait(ctx, "another node's answer", func() (ok bool) {
		r.answer, ok = otherAnswers(asker, owner, begun)
		return ok
	}); err != nil {
		return r, err
	}
	if err := c.Wait(ctx, "the first request that succeeds", func() (ok bool) {
		var outage time.Duration
		outage, r.lost, ok = probe.Recovered(begun)
		if ok {
			r.outage = outage
		}
		return ok || r.lost == 0 && time.Since(begun) > r.answer+time.Second
	}); err != nil {
		return r, err
	}
	r.twoDown = asker.TwoAnswered(begun)
	over := time.Now()
	if err := f.undo(ctx, c, owner); err != nil {
		return r, err
	}
	if err := c.Settled(ctx); err != nil {
		return r, err
	}
	if _, err := whoAnswers(ctx, c, vip); err != nil {
		return r, err
	}
	r.twoBack = asker.TwoAnswered(over)
	return r, nil
}

// otherAnswers returns when the first ARP request was sent that another node than the owner
// answered, as the time after begun.
func otherAnswers(asker *cluster.Asker, owner *cluster.Node, begun time.Time) (time.Duration, bool) {
	for _, q := range asker.Since(begun) {
		if slices.ContainsFunc(q.MACs, func(mac string) bool { return mac != owner.MAC }) {
			return q.At.Sub(begun), true
		}
	}
	return 0, false
}

// say prints the line of a kind of fault.
func say(name string, results []result) {
	var outages, answers []time.Duration
	var worst result
	for _, r := range results {
		outages, answers = append(outages, r.outage), append(answers, r.answer)
		worst.lost, worst.twoDown, worst.twoBack = max(worst.lost, r.lost), max(worst.twoDown, r.twoDown), max(worst.twoBack, r.twoBack)
	}
	fmt.Printf("%-9s %5d   %s   %s   %8d   %7.0f ms   %7.0f ms\n", name, len(results), quantiles(answers), quantiles(outages), worst.lost, ms(worst.twoDown), ms(worst.twoBack))
}

// quantiles returns the median, the 99th percentile and the maximum, in milliseconds.
func quantiles(ds []time.Duration) string {
	slices.Sort(ds)
	n := len(ds)
	return fmt.Sprintf("%4.0f %4.0f %4.0f ms", ms(ds[n/2]), ms(ds[min(n-1, n*99/100)]), ms(ds[n-1]))
}
