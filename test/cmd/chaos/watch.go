package main

import (
	"context"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const (
	askEvery     = 20 * time.Millisecond // between two ARP requests for an address
	connectEvery = 25 * time.Millisecond // between two connections to an address
	// allAnswers is after what time all answers to an ARP request have arrived.
	allAnswers = 500 * time.Millisecond
)

// watcher watches one address from both sides.
type watcher struct {
	vip   vip
	asker *cluster.Asker
	probe *cluster.Probe

	answers  *answers
	requests *requests
	asked    int // questions that were judged
	tried    int // attempts that were judged
}

// watchers watch the cluster as clients see it.
type watchers struct {
	chaos    *chaos
	all      []*watcher
	services *serviceWatch
}

// startWatching starts the watchers of all addresses. Services are watched until ctx ends.
func (c *chaos) startWatching(ctx context.Context) (*watchers, error) {
	names := map[string]string{}
	for _, n := range c.Nodes() {
		names[n.MAC] = n.Name
	}
	w := &watchers{chaos: c}
	var err error
	if w.services, err = c.watchServices(ctx); err != nil {
		return nil, err
	}
	for _, v := range c.vips {
		one := &watcher{vip: v, answers: newAnswers(v, askEvery, names),
			requests: &requests{silence: spells{vip: v, side: connecting, late: lateness{every: connectEvery}}}}
		if one.asker, err = c.Ask(v.addr, askEvery); err != nil {
			w.stop()
			return nil, err
		}
		w.all = append(w.all, one)
		if one.probe, err = c.StartProbeEvery(v.addr, connectEvery); err != nil {
			w.stop()
			return nil, err
		}
	}
	return w, nil
}

// stop stops the watchers.
func (w *watchers) stop() {
	for _, one := range w.all {
		one.asker.Stop()
		if one.probe != nil {
			one.probe.Stop()
		}
	}
}

// watch judges what the watchers see, until ctx ends. It returns an error if a program of
// the cluster has crashed.
func (w *watchers) watch(ctx context.Context) error {
	for sleep(ctx, 100*time.Millisecond) {
		w.judge()
		if err := w.chaos.Crashed(); err != nil {
			return err
		}
	}
	w.judge()
	m, r := w.chaos.model(), w.chaos.report
	for _, one := range w.all {
		r.addAll(one.answers.end(m), m, one.vip)
		r.addAll(one.requests.end(m), m, one.vip)
		r.finish(one)
	}
	return nil
}

// judge judges what is new.
func (w *watchers) judge() {
	r := w.chaos.report
	for _, one := range w.all {
		questions, attempts := one.asker.Complete(one.asked, allAnswers), one.probe.Ended(one.tried)
		m := w.chaos.model() // after the questions, so that it has all faults of their time
		one.asked, one.tried = one.asked+len(questions), one.tried+len(attempts)
		for _, q := range questions {
			r.addAll(one.answers.see(q, m), m, one.vip)
		}
		r.addAll(one.requests.see(attempts, m), m, one.vip)
	}
	for _, wrong := range w.services.take() {
		now := time.Now()
		r.add(violation{what: wrong, from: now, to: now, allowed: limit}, w.chaos.model(), w.chaos.vips[0])
	}
}
