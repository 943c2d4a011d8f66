package main

import (
	"context"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// asker asks the programs again and again. A program that does not answer does not delay what the
// others say: it is asked on, and what it said before counts for a short time.
type asker struct {
	ctx   context.Context // ends all requests
	ports podPorts
	work  sync.WaitGroup
	turns chan struct{} // bounds how many programs are asked at the same time
	ready signal.Signal // is set when a program has answered

	mu       sync.Mutex
	speakers map[types.UID]*answer[diagnose.Speaker]
	managers map[types.UID]*answer[diagnose.Manager]
}

// answer is what a program said.
type answer[T any] struct {
	// asked is when the present request began; the zero time if there is none.
	asked time.Time
	// good is the last answer, and goodAt when it came. problem says why there was none to the last
	// request; empty if there was one.
	good    T
	goodAt  time.Time
	problem string
	// took is how long the last answer took. So much time passes before the next request, so
	// that a large cluster is not asked without a pause.
	took time.Duration
}

func newAsker(ctx context.Context, ports podPorts) *asker {
	return &asker{
		ctx: ctx, ports: withoutState{ports}, turns: make(chan struct{}, maxPodsAtOnce), ready: signal.New(),
		speakers: map[types.UID]*answer[diagnose.Speaker]{}, managers: map[types.UID]*answer[diagnose.Manager]{},
	}
}

// ask asks the programs of the input that are not being asked already, and whose pause is over. It waits for those for
// patience, and for programs that have never been asked for podTimeout. Then it sets what the programs
// have said, and returns the names of the pods that said it before.
func (a *asker) ask(ctx context.Context, in *diagnose.Input) (late map[string]bool) {
	began := time.Now()
	wait := patience
	a.mu.Lock()
	for _, s := range in.Speakers {
		if start(a, a.speakers, s.Pod, began, func(ctx context.Context) (diagnose.Speaker, string) {
			readSpeaker(ctx, a.ports, &s)
			return s, s.Problem
		}) {
			wait = podTimeout
		}
	}
	for _, m := range in.Managers {
		if start(a, a.managers, m.Pod, began, func(ctx context.Context) (diagnose.Manager, string) {
			readManager(ctx, a.ports, &m)
			return m, m.Problem
		}) {
			wait = podTimeout
		}
	}
	a.mu.Unlock()
	a.await(ctx, began, wait)

	a.mu.Lock()
	defer a.mu.Unlock()
	late = map[string]bool{}
	pods := map[types.UID]bool{}
	for i, s := range in.Speakers {
		in.Speakers[i] = a.speakers[s.Pod.UID].last(began, func(problem string) diagnose.Speaker { return diagnose.Speaker{Pod: s.Pod, Problem: problem} })
		in.Speakers[i].Pod = s.Pod
		pods[s.Pod.UID] = true
		late[s.Pod.Name] = a.speakers[s.Pod.UID].goodAt.Before(began)
	}
	for i, m := range in.Managers {
		in.Managers[i] = a.managers[m.Pod.UID].last(began, func(problem string) diagnose.Manager { return diagnose.Manager{Pod: m.Pod, Problem: problem} })
		in.Managers[i].Pod = m.Pod
		pods[m.Pod.UID] = true
	}
	maps.DeleteFunc(a.speakers, func(uid types.UID, _ *answer[diagnose.Speaker]) bool { return !pods[uid] })
	maps.DeleteFunc(a.managers, func(uid types.UID, _ *answer[diagnose.Manager]) bool { return !pods[uid] })
	return late
}

// start begins to read what a program says, if that is not being read already. It reports whether
// the program is asked for the first time. The caller must hold the lock.
func start[T any](a *asker, answers map[types.UID]*answer[T], pod *v1.Pod, now time.Time, read func(context.Context) (T, string)) (first bool) {
	said := answers[pod.UID]
	if said == nil {
		said = &answer[T]{}
		answers[pod.UID], first = said, true
	}
	if !said.asked.IsZero() || now.Sub(said.goodAt) < said.took {
		return first
	}
	said.asked = now
	a.work.Go(func() {
		a.turns <- struct{}{}
		defer func() { <-a.turns }()
		ctx, cancel := context.WithTimeoutCause(a.ctx, maxPodTime, errSlow)
		defer cancel()
		began := time.Now()
		got, problem := read(ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		said.asked, said.problem, said.took = time.Time{}, problem, 0
		if problem == "" {
			said.good, said.goodAt, said.took = got, time.Now(), time.Since(began)
		}
		a.ready.Set()
	})
	return first
}

// await waits until all programs have answered that are asked since began, but at most so long.
func (a *asker) await(ctx context.Context, began time.Time, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for a.asking(began) {
		select {
		case <-a.ready.C():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// asking reports whether a program is asked since began. Programs that were asked before have had
// their time.
func (a *asker) asking(began time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.speakers {
		if s.asked.Equal(began) {
			return true
		}
	}
	for _, m := range a.managers {
		if m.asked.Equal(began) {
			return true
		}
	}
	return false
}

// last returns what a program said last, if that was not too long ago, else why it says nothing.
func (a *answer[T]) last(now time.Time, failed func(problem string) T) T {
	switch {
	case !a.goodAt.IsZero() && now.Sub(a.goodAt) < podTimeout+3*a.took: // its next answer can take longer
		return a.good
	case a.problem != "":
		return failed(a.problem)
	}
	return failed("it has not answered yet")
}
