package deadnodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

const (
	// failedFor is how long other speakers are preferred to one that did not answer.
	failedFor = 30 * time.Second
	// retryAfter is how long a watch waits after a speaker has not answered.
	retryAfter = 500 * time.Millisecond
)

// watch asks three speakers again and again what they know. A speaker that does not answer is
// replaced by another one.
type watch struct {
	nodes   func() []Node
	port    uint16
	keys    *keys
	log     *slog.Logger
	changed signal.Signal // a speaker has said something new
	warn    rate.Sometimes

	mu     sync.Mutex
	places [asked]place
	failed map[string]time.Time // when a speaker last did not answer, by its node
	alive  map[string]bool      // nodes that a speaker has called alive
}

// place is one of the three speakers.
type place struct {
	node   string
	answer *speakerapi.Answer // nil until it has answered
}

func newWatch(nodes func() []Node, port uint16, k *keys, log *slog.Logger) *watch {
	return &watch{
		nodes: nodes, port: port, keys: k, log: log, changed: signal.New(), warn: rate.Sometimes{Interval: time.Minute},
		failed: map[string]time.Time{}, alive: map[string]bool{},
	}
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range w.places {
		wg.Go(func() {
			for ctx.Err() == nil {
				if node, ok := w.take(i); ok {
					err := w.follow(ctx, i, node)
					w.leave(ctx, i, err)
				}
				select {
				case <-time.After(retryAfter):
				case <-ctx.Done():
				}
			}
		})
	}
}

// take gives a place to a speaker that has none.
func (w *watch) take(i int) (Node, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.candidates() {
		if !w.watched(n.Name) {
			w.places[i] = place{node: n.Name}
			return n, true
		}
	}
	return Node{}, false
}

// leave frees a place whose speaker does not answer any more.
func (w *watch) leave(ctx context.Context, i int, err error) {
	if errors.Is(err, errKey) {
		w.keys.refused()
	}
	w.mu.Lock()
	w.failed[w.places[i].node] = time.Now()
	w.places[i] = place{}
	w.mu.Unlock()
	if ctx.Err() == nil {
		w.warn.Do(func() {
			w.log.Warn("a speaker does not tell which nodes are dead, another one is asked", "error", err,
				"hint", "the speakers need the same version, TLS at --metrics-address, and the port of --speaker-metrics-port, which must be open for the cluster manager")
		})
		w.changed.Set()
	}
}

// follow notes what a speaker says until it does not answer.
func (w *watch) follow(ctx context.Context, i int, node Node) error {
	s, err := dial(ctx, node.Name, netip.AddrPortFrom(node.Addr, w.port))
	if err != nil {
		return err
	}
	defer s.close()
	for after, timeout := uint64(0), freshTimeout; ; timeout = pollTimeout {
		key, err := w.keys.get(ctx)
		if err != nil {
			return err
		}
		answer, err := s.ask(ctx, key, after, timeout)
		if err != nil {
			return err
		}
		w.note(answer)
		w.mu.Lock()
		w.places[i].answer = &answer
		w.mu.Unlock()
		if answer.Change != after {
			w.changed.Set()
		}
		after = answer.Change
		if answer.Fenced && w.another() {
			return fmt.Errorf("the speaker of node %s is fenced, so it knows nothing", node.Name)
		}
	}
}

// another reports whether there is a speaker that has no place and should answer.
func (w *watch) another() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.candidates(), func(n Node) bool { return w.rank(n) == unasked })
}

// note remembers which nodes are alive by the word of a speaker.
func (w *watch) note(answer speakerapi.Answer) {
	if answer.Fenced {
		return
	}
	nodes := w.nodes()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		if n.Speaker && !slices.Contains(answer.Dead, n.Name) {
			w.alive[n.Name] = true
		}
	}
}

// seenAlive reports whether a speaker has called a node alive since this process leads.
func (w *watch) seenAlive(node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive[node]
}

// reported returns the nodes, sorted, that a watched speaker reports dead. voices is how many
// of the watched speakers know anything.
func (w *watch) reported() (dead []string, voices int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.places {
		if p.answer != nil && !p.answer.Fenced {
			voices++
			dead = append(dead, p.answer.Dead...)
		}
	}
	slices.Sort(dead)
	return slices.Compact(dead), voices
}

// ask asks three speakers, which are on none of the dead nodes, about a node. also are the nodes that any
// of them reports dead.
func (w *watch) ask(ctx context.Context, node string, dead []string) (said []statement, also []string) {
	w.mu.Lock()
	chosen := slices.DeleteFunc(w.candidates(), func(n Node) bool { return n.Name == node || slices.Contains(dead, n.Name) })
	w.mu.Unlock()
	chosen = chosen[:min(asked, len(chosen))]
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	answers := make([]*speakerapi.Answer, len(chosen))
	var wg sync.WaitGroup
	for i, n := range chosen {
		wg.Go(func() {
			answer, err := w.askOnce(ctx, n)
			if err == nil {
				w.note(answer)
				answers[i] = &answer
				return
			}
			if errors.Is(err, errKey) {
				w.keys.refused()
			}
			w.log.Info("a speaker has not answered about a dead node", "node", node, "error", err)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failed[n.Name] = time.Now()
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != nil && !a.Fenced {
			said = append(said, statement{a.Node, slices.Contains(a.Dead, node)})
			also = append(also, a.Dead...)
		}
	}
	return said, also
}

func (w *watch) askOnce(ctx context.Context, n Node) (speakerapi.Answer, error) {
	key, err := w.keys.get(ctx)
	if err != nil {
		return speakerapi.Answer{}, err
	}
	s, err := dial(ctx, n.Name, netip.AddrPortFrom(n.Addr, w.port))
	if err != nil {
		return speakerapi.Answer{}, err
	}
	defer s.close()
	return s.ask(ctx, key, 0, freshTimeout)
}

// candidates returns the nodes whose speakers can be asked, by their rank; of equal ones in
// random order. The caller must hold w.mu.
func (w *watch) candidates() []Node {
	nodes := slices.DeleteFunc(slices.Clone(w.nodes()), func(n Node) bool { return !n.Speaker || !n.Ready || !n.Addr.IsValid() })
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	slices.SortStableFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(w.rank(a), w.rank(b)), w.failed[a.Name].Compare(w.failed[b.Name]))
	})
	return nodes
}

// The ranks of speakers, the best first.
const (
	watched = iota // it has a place
	unasked        // it should answer
	silent         // it did not answer a short time ago, or knew nothing
)

// rank returns the rank of a node's speaker. The caller must hold w.mu.
func (w *watch) rank(n Node) int {
	switch {
	case w.watched(n.Name):
		return watched
	case time.Since(w.failed[n.Name]) > failedFor:
		return unasked
	}
	return silent
}

// watched reports whether a speaker has a place. The caller must hold w.mu.
func (w *watch) watched(node string) bool {
	return slices.ContainsFunc(w.places[:], func(p place) bool { return p.node == node })
}
