package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const (
	// heldEach is how many connections to each address stay open if the addresses are spread.
	heldEach = 8
	// heldTalk is the time between two requests on such a connection.
	heldTalk = 250 * time.Millisecond
	// heldRenew is how often connections that were lost are opened again.
	heldRenew = time.Second
)

// held are connections that stay open while faults are made. A connection may be lost only if
// its carrier, the node that it goes through, was cut off since it was opened.
type held struct {
	chaos *chaos
	vip   vip
	all   []heldTalks
}

// heldTalks is one connection.
type heldTalks struct {
	*cluster.Talks
	opened time.Time
}

// hold keeps connections to all addresses open, until ctx ends.
func (c *chaos) hold(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, v := range c.vips {
		running.Go(func() { (&held{chaos: c, vip: v}).keep(ctx) })
	}
}

func (h *held) keep(ctx context.Context) {
	defer func() {
		for _, t := range h.all {
			t.Stop()
		}
	}()
	for sleep(ctx, heldRenew) {
		h.judge()
		for len(h.all) < heldEach && ctx.Err() == nil {
			t, err := h.chaos.StartTalks(ctx, cluster.OnSegment, h.vip.addr, 1, heldTalk)
			if err != nil {
				break // an address may have no answer for a moment; others judge that
			}
			h.all = append(h.all, heldTalks{t, time.Now()})
			h.chaos.report.hold()
		}
	}
}

// judge forgets the connections that were lost, and reports those that should not have been.
func (h *held) judge() {
	m, now := h.chaos.model(), time.Now()
	var alive []heldTalks
	for _, t := range h.all {
		lost := t.Lost()
		if len(lost) == 0 {
			alive = append(alive, t)
			continue
		}
		t.Stop()
		if m.wasCut(lost[0].Carrier, t.opened, now) {
			h.chaos.report.lose()
		} else {
			h.chaos.report.add(violation{what: fmt.Sprintf("a connection to %s was lost: %v", h.vip.addr, lost[0].Err()), from: now, to: now, allowed: limit}, m, h.vip)
		}
	}
	h.all = alive
}

// wasCut reports whether the node may have been taken for dead between two times: it was cut
// off, or the speakers did not hear each other.
func (m model) wasCut(node string, from, to time.Time) bool {
	for _, f := range m.faults {
		if (f.kind.parts || f.kind.cutsNode && f.hits(node)) && f.overlaps(from, to, settle) {
			return true
		}
	}
	return false
}
