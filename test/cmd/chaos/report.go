package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// report prints what happens, and keeps the figures for the summary.
type report struct {
	seed  uint64
	begun time.Time

	mu         sync.Mutex
	counts     map[string]int // faults, by kind
	held, lost int            // connections that stay open, and those of them that were lost
	looped     *int           // frames that were forwarded too often; nil if they were not counted
	violations []violation
	doubtful   []violation // those for which the watcher was too late to be sure

	questions, attempts int
	silent, failing     figures // spells without an answer: ARP requests, connections
	doubles             []time.Duration
	agreements          []time.Duration
	askLate, tryLate    time.Duration
}

// figures are the lengths of spells: as a client saw them, and what of them counts.
type figures struct{ all, counted []time.Duration }

func (f *figures) add(s spells) {
	f.all, f.counted = append(f.all, s.lengths...), append(f.counted, s.counted...)
}

// say prints a line with the time since the start.
func (r *report) say(format string, args ...any) {
	fmt.Printf("+%7.1f s  %s\n", time.Since(r.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (r *report) count(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[kind]++
}

// hold counts a connection that stays open, lose one that was lost because its node was cut off.
func (r *report) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held++
}

func (r *report) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
}

// loops keeps the number of frames that were forwarded too often.
func (r *report) loops(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looped = &n
}

func (r *report) agree(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agreements = append(r.agreements, took)
}

func (r *report) addAll(found []violation, m model, v vip) {
	for _, one := range found {
		r.add(one, m, v)
	}
}

// add keeps and prints a violation.
func (r *report) add(v violation, m model, address vip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	word := "VIOLATION"
	if v.doubtful() {
		word = "doubtful violation"
		r.doubtful = append(r.doubtful, v)
	} else {
		r.violations = append(r.violations, v)
	}
	fmt.Printf("%s at +%.2f s, seed %d: %s\n    faults: %s\n    well: %s; the watcher was late by up to %d ms\n",
		word, v.from.Sub(r.begun).Seconds(), r.seed, v.what, describeFaults(m, v), strings.Join(m.well(address, v.from), " "), v.late.Milliseconds())
}

// describeFaults lists the faults that may have caused a violation.
func describeFaults(m model, v violation) string {
	var texts []string
	for _, f := range m.faults {
		if !f.overlaps(v.from, v.to, 3*time.Second) {
			continue
		}
		text := strings.TrimSpace(f.kind.name+" "+strings.Join(f.nodes, "+")) + since(f.begun, v.from, "began")
		if f.ended.IsZero() {
			text += ", lasts"
		} else {
			text += "," + since(f.ended, v.from, "ended")
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, "; ")
}

// since says how long before or after from something happened.
func since(t, from time.Time, what string) string {
	if d := from.Sub(t); d >= 0 {
		return fmt.Sprintf(" %s %d ms before", what, d.Milliseconds())
	}
	return fmt.Sprintf(" %s %d ms after", what, t.Sub(from).Milliseconds())
}

// finish adds the figures of a watcher whose work is done.
func (r *report) finish(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.questions, r.attempts = r.questions+w.asked, r.attempts+w.tried
	r.silent.add(w.answers.silence)
	r.failing.add(w.requests.silence)
	r.doubles = append(r.doubles, w.answers.doubles...)
	r.askLate = max(r.askLate, w.answers.silence.late.most)
	r.tryLate = max(r.tryLate, w.requests.silence.late.most)
}

// print prints the summary.
func (r *report) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.counts)) {
		total += r.counts[kind]
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, r.counts[kind]))
	}
	fmt.Fprintf(w, "\nseed %d, %.0f s: %d faults (%s)\n", r.seed, time.Since(r.begun).Seconds(), total, strings.Join(kinds, ", "))
	fmt.Fprintf(w, "%d ARP requests, spells without an answer: %s\n", r.questions, quantiles(r.silent.all))
	fmt.Fprintf(w, "  the time of them that counts:           %s\n", quantiles(r.silent.counted))
	fmt.Fprintf(w, "%d connections, spells without an answer:  %s\n", r.attempts, quantiles(r.failing.all))
	fmt.Fprintf(w, "  the time of them that counts:           %s\n", quantiles(r.failing.counted))
	if r.held > 0 {
		fmt.Fprintf(w, "%d connections held open, %d of them lost with a node that was cut off\n", r.held, r.lost)
	}
	if r.looped != nil {
		fmt.Fprintf(w, "%d frames forwarded in a loop; the rules of all nodes were looked for after the last Service was deleted\n", *r.looped)
	}
	fmt.Fprintf(w, "two nodes answered that reach each other: %s\n", quantiles(r.doubles))
	fmt.Fprintf(w, "all agreed after the end of all faults:   %s\n", quantiles(r.agreements))
	fmt.Fprintf(w, "the watchers were late by up to %d ms (ARP requests) and %d ms (connections)\n", r.askLate.Milliseconds(), r.tryLate.Milliseconds())
	fmt.Fprintf(w, "%d violations, and %d more while the watcher was late\n", len(r.violations), len(r.doubtful))
}

// quantiles returns the number of the times, and their median, 99th percentile and maximum.
func quantiles(ds []time.Duration) string {
	if len(ds) == 0 {
		return "   0"
	}
	slices.Sort(ds)
	n := len(ds)
	return fmt.Sprintf("%4d, p50 %d, p99 %d, max %d ms", n, ds[n/2].Milliseconds(), ds[min(n-1, n*99/100)].Milliseconds(), ds[n-1].Milliseconds())
}
