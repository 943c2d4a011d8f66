package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// disturbance is something under which no address may move, because no node fails.
type disturbance struct {
	what string
	// begin begins it. stop ends it.
	begin func(ctx context.Context, c *cluster.Cluster, owner *cluster.Node) (stop func(), err error)
	// unanswered is set if some ARP requests cannot be answered.
	unanswered bool
	// silent is set if some speakers are silent, so that other speakers detect them as dead.
	silent bool
}

// disturbance returns the disturbance that the options name.
func (o options) disturbance() (disturbance, error) {
	var chosen []disturbance
	if o.loss > 0 {
		chosen = append(chosen, disturbance{what: fmt.Sprintf("with %d%% of all frames lost", o.loss), unanswered: true,
			begin: func(_ context.Context, c *cluster.Cluster, _ *cluster.Node) (func(), error) {
				return func() {}, c.Lossy(o.loss) // the cluster ends after this
			}})
	}
	if o.watcher {
		chosen = append(chosen, disturbance{what: "while a speaker that owns nothing is stopped again and again", silent: true,
			begin: func(ctx context.Context, c *cluster.Cluster, owner *cluster.Node) (func(), error) {
				for _, n := range c.Nodes() {
					if n != owner {
						return stopAgainAndAgain(ctx, []*cluster.Node{n}), nil
					}
				}
				return nil, errors.New("-watcher: there is no node but the owner")
			}})
	}
	if o.stop {
		chosen = append(chosen, disturbance{what: "while all speakers are stopped together again and again", unanswered: true,
			begin: func(ctx context.Context, c *cluster.Cluster, _ *cluster.Node) (func(), error) {
				return stopAgainAndAgain(ctx, c.Nodes()), nil
			}})
	}
	switch {
	case len(chosen) > 1:
		return disturbance{}, errors.New("-loss, -watcher and -stop exclude each other; write one of them")
	case len(chosen) == 1:
		return chosen[0], nil
	case o.busy == 0:
		return disturbance{what: "with nothing else to do",
			begin: func(context.Context, *cluster.Cluster, *cluster.Node) (func(), error) { return func() {}, nil }}, nil
	}
	loops := o.busy * runtime.NumCPU()
	return disturbance{what: fmt.Sprintf("with %d busy loops", loops),
		begin: func(context.Context, *cluster.Cluster, *cluster.Node) (func(), error) { return cluster.Burn(loops) }}, nil
}

// stops are the times for which processes are stopped, one after the other.
var stops = []time.Duration{100 * time.Millisecond, time.Second, 300 * time.Millisecond, 5 * time.Second, 500 * time.Millisecond, 2 * time.Second}

// stopAgainAndAgain stops the speakers of nodes by SIGSTOP, all at once, and lets them run
// again. The result ends that.
func stopAgainAndAgain(ctx context.Context, nodes []*cluster.Node) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			wait(2 * time.Second)
			for _, n := range nodes {
				n.Speaker().Freeze()
			}
			wait(stops[i%len(stops)])
			for _, n := range nodes {
				n.Speaker().Thaw()
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

// askWhenIdle is the time between two ARP requests.
const askWhenIdle = 100 * time.Millisecond

// watchIdle watches the cluster during a disturbance. It counts the changed decisions of the
// speakers and the answers of other nodes than the owner. There should be none.
func watchIdle(ctx context.Context, c *cluster.Cluster, vip string, o options) error {
	d, err := o.disturbance()
	if err != nil {
		return err
	}
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return err
	}
	asker, err := c.Ask(vip, askWhenIdle)
	if err != nil {
		return err
	}
	defer asker.Stop()
	// The speakers have logged a decision for the new address already. It does not count.
	before, deathsBefore, begun := decisions(c), deaths(c), time.Now()
	stop, err := d.begin(ctx, c, owner)
	if err != nil {
		return err
	}
	defer stop()
	for time.Since(begun) < o.idle {
		time.Sleep(min(time.Second, o.idle-time.Since(begun)))
		if err := c.Crashed(); err != nil {
			return err
		}
	}
	asked, unanswered, wrong := 0, 0, 0
	for _, q := range asker.Since(begun) {
		asked++
		switch {
		case len(q.MACs) == 0:
			unanswered++
		case len(q.MACs) > 1 || q.MACs[0] != owner.MAC:
			wrong++
		}
	}
	moved, died := decisions(c)-before, deaths(c)-deathsBefore
	said := "speakers wrongly detected as dead"
	if d.silent {
		said = "times a stopped speaker was detected as dead"
	}
	fmt.Printf("%v %s: %d decisions changed, %d %s; %d ARP requests, %d without an answer, %d answered by another node\n",
		o.idle, d.what, moved, died, said, asked, unanswered, wrong)
	if moved > 0 || wrong > 0 || unanswered > 0 && !d.unanswered {
		return fmt.Errorf("the address %s has moved, or an ARP request was not answered, although no node failed", vip)
	}
	return nil
}

var decision = regexp.MustCompile(`(?m)msg="layer 2 decision changed".* owner=(\S*) before=(\S*)`)

// decisions returns how many changes of an owner the speakers have logged.
func decisions(c *cluster.Cluster) (n int) {
	for _, node := range c.Nodes() {
		n += ownerChanges(node.Speaker().Log())
	}
	return n
}

// ownerChanges counts the changes of an owner in the log of a speaker. A decision can also
// change its reason only, for example while the speaker is fenced.
func ownerChanges(log string) (n int) {
	for _, match := range decision.FindAllStringSubmatch(log, -1) {
		if match[1] != match[2] {
			n++
		}
	}
	return n
}

// deaths returns how many dead members the speakers have logged.
func deaths(c *cluster.Cluster) int {
	return countLogs(c, `msg="speaker died"`) + countLogs(c, `msg="member is dead`)
}

// countLogs returns how often the logs of the speakers contain text.
func countLogs(c *cluster.Cluster, text string) (n int) {
	for _, node := range c.Nodes() {
		n += strings.Count(node.Speaker().Log(), text)
	}
	return n
}
