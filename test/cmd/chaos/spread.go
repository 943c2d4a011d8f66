package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// spreadTable is the table of nftables that spreads flows.
const spreadTable = "baremetal-spread"

// checkSpread checks at the end that no frame went around in a loop, and that the nodes keep no
// rules when the Services are gone.
func (c *chaos) checkSpread(ctx context.Context) error {
	looped, err := c.loops.Stop()
	if err != nil {
		return err
	}
	frames := 0
	for _, l := range looped {
		frames += l.Frames
		c.violate(fmt.Sprintf("%d frames with the TTL %d came from %s: they were forwarded more often than they may be", l.Frames, l.TTL, l.From))
	}
	c.report.loops(frames)
	for _, v := range c.vips {
		if err := c.Client.CoreV1().Services("default").Delete(ctx, v.service, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		var tables []string
		err := c.Wait(ctx, "the end of the rules of "+n.Name, func() bool {
			tables, err = n.Tables()
			return err == nil && !slices.Contains(tables, spreadTable)
		})
		if err != nil {
			c.violate(fmt.Sprintf("%s keeps its rules when no Service is left: %v", n.Name, tables))
		}
	}
	return nil
}

// violate reports that something is wrong at the end.
func (c *chaos) violate(what string) {
	now := time.Now()
	c.report.add(violation{what: what, from: now, to: now, allowed: limit}, c.model(), c.vips[0])
}

func addresses(vips []vip) (all []string) {
	for _, v := range vips {
		all = append(all, v.addr)
	}
	return all
}
