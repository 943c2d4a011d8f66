package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// owners returns the owners of addresses that a speaker believes in, from its /debug/plan.
func owners(plan string) map[string]string {
	owners := map[string]string{}
	for line := range strings.Lines(plan) {
		fields := strings.Fields(line)
		for _, field := range fields {
			if owner, ok := strings.CutPrefix(field, "owner="); ok {
				owners[fields[0]] = owner
			}
		}
	}
	return owners
}

// disagreement says what two speakers believe that is not the same, or is empty. plans are
// the plans of the speakers, by node.
func disagreement(plans map[string]string, vips []vip) string {
	for _, v := range vips {
		believed := map[string][]string{}
		for _, node := range slices.Sorted(maps.Keys(plans)) {
			owner := owners(plans[node])[v.addr]
			if owner == "" {
				owner = "none"
			}
			believed[owner] = append(believed[owner], node)
		}
		if len(believed) == 1 && believed["none"] == nil {
			continue
		}
		var parts []string
		for _, owner := range slices.Sorted(maps.Keys(believed)) {
			parts = append(parts, fmt.Sprintf("%s on %s", owner, strings.Join(believed[owner], ", ")))
		}
		return fmt.Sprintf("the owner of %s is %s", v.addr, strings.Join(parts, ", but "))
	}
	return ""
}

// pollAgreement is the time between two looks at the plans.
const pollAgreement = 50 * time.Millisecond

// agreed waits until all speakers agree about the owners after all faults have ended, and
// returns how long that took. It gives up after a minute. late is how late the looks were.
func (c *chaos) agreed(ctx context.Context) (took, late time.Duration, last string) {
	begun := time.Now()
	for ctx.Err() == nil {
		look := time.Now()
		plans := map[string]string{}
		for _, n := range c.Nodes() {
			text, err := n.Get(ctx, "/debug/plan")
			if err != nil {
				text = "" // counts as no owner
			}
			plans[n.Name] = text
		}
		now := disagreement(plans, c.vips)
		took = time.Since(begun)
		if now == "" || took > time.Minute {
			return took, late, last
		}
		last = now
		sleep(ctx, pollAgreement)
		late = max(late, time.Since(look)-2*pollAgreement)
	}
	return 0, 0, ""
}

// oneAnswers returns an error unless exactly one node answers for each address.
func oneAnswers(c *cluster.Cluster, vips []vip) error {
	for _, v := range vips {
		macs, err := c.WhoHas(v.addr, 300*time.Millisecond)
		if err != nil {
			return err
		}
		if len(macs) != 1 {
			return fmt.Errorf("%d nodes answer for %s at the end, after all faults have ended: %v", len(macs), v.addr, macs)
		}
	}
	return nil
}
