package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// chaos is a cluster with its faults.
type chaos struct {
	*cluster.Cluster
	options  options
	vips     []vip
	managers *managers
	report   *report
	loops    *cluster.LoopCount // only with spread

	mu     sync.Mutex
	faults []fault
}

// interrupted is the exit code after SIGINT, if there was no violation.
const interrupted = 130

// play starts a cluster, makes faults, and returns the exit code.
func play(ctx context.Context, env cluster.Env, o options) (code int, err error) {
	signals, err := env.CatchSignals()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		<-signals
		close(stopped)
		cancel()
	}()
	c, err := start(ctx, env, o)
	if err == nil {
		defer c.Close()
		err = c.play(ctx)
		if err == nil && o.spread {
			err = c.checkSpread(ctx)
		}
	}
	select {
	case <-stopped:
		code = interrupted
		if errors.Is(err, context.Canceled) {
			err = nil
		}
	default:
	}
	if c == nil {
		return code, err
	}
	c.report.print(os.Stdout)
	if len(c.report.violations) > 0 {
		code = 1
	}
	return code, err
}

// start starts the cluster and its Services.
func start(ctx context.Context, env cluster.Env, o options) (*chaos, error) {
	inner, err := cluster.Start(ctx, env, cluster.Options{Speakers: o.nodes, SpeakerFlags: []string{"--failover=" + o.failover}})
	if err != nil {
		return nil, err
	}
	c := &chaos{Cluster: inner, options: o}
	c.managers = &managers{chaos: c}
	if err = c.Deploy(ctx, wantManagers); err == nil {
		err = c.createServices(ctx)
	}
	if err == nil {
		err = c.Settled(ctx)
	}
	if err != nil {
		inner.Close()
		return nil, err
	}
	for _, p := range c.CCMs() {
		p.MayEnd()
	}
	c.report = &report{seed: o.seed, begun: time.Now(), counts: map[string]int{}}
	fmt.Printf("seed %d: %d nodes, --failover=%s, %d Services, %v, %d CPUs, %s\n",
		o.seed, o.nodes, o.failover, len(c.vips), o.length, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	return c, nil
}

// play makes the faults of the schedule and watches, until the time is over.
func (c *chaos) play(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, err := c.startWatching(ctx)
	if err != nil {
		return err
	}
	defer w.stop()
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel(nil) // before the wait
	background.Go(func() {
		if err := c.managers.keep(ctx); err != nil {
			cancel(err)
		}
	})
	background.Go(func() {
		if err := w.watch(ctx); err != nil {
			cancel(err)
		}
	})
	if c.options.spread {
		if c.loops, err = c.CountLoops(addresses(c.vips)); err != nil {
			return err
		}
		background.Go(func() { c.hold(ctx) })
	}
	var names []string
	for _, n := range c.Nodes() {
		names = append(names, n.Name)
	}
	s, err := newSchedule(c.options.seed, names, c.options.kinds)
	if err != nil {
		return err
	}
	for end := time.Now().Add(c.options.length); time.Now().Before(end) && ctx.Err() == nil; {
		if err := c.episode(ctx, s.next()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	sleep(ctx, settle)
	if err := oneAnswers(c.Cluster, c.vips); err != nil {
		c.violate(err.Error())
	}
	sleep(ctx, allAnswers+attemptEnds) // what the watchers have seen last is judged, too
	return nil
}

// episode waits, makes the faults of an episode, and waits until all speakers agree again.
func (c *chaos) episode(ctx context.Context, e episode) error {
	if !sleep(ctx, e.pause) {
		return nil
	}
	var texts []string
	for _, p := range e.faults {
		texts = append(texts, p.String())
	}
	c.report.say("%s", strings.Join(texts, ", and "))
	errs := make([]error, len(e.faults))
	var running sync.WaitGroup
	slow := false
	for i, p := range e.faults {
		c.report.count(p.kind.name)
		slow = slow || p.kind.slow
		running.Go(func() { errs[i] = c.run(ctx, p) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil || ctx.Err() != nil {
		return err
	}
	ended := time.Now()
	took, late, last := c.agreed(ctx)
	if ctx.Err() != nil || slow {
		return nil // without the API server the speakers learn late what has changed
	}
	c.report.agree(took)
	if took > settle {
		c.report.add(violation{what: fmt.Sprintf("the speakers agreed only %d ms after all faults had ended: %s", took.Milliseconds(), last),
			from: ended, to: ended.Add(took), late: late, allowed: settle}, c.model(), c.vips[0])
	}
	return nil
}

// model returns the model of all faults until now.
func (c *chaos) model() model {
	c.mu.Lock()
	defer c.mu.Unlock()
	return model{append([]fault(nil), c.faults...)}
}
