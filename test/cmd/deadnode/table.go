package main

import (
	"fmt"
	"io"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// outcome are the requests after a death, by the second in which they began.
type outcome struct {
	sent, failed map[int]int
	events       []string // of the cluster manager, about dead nodes
}

// bySecond sorts attempts into the seconds after a death.
func bySecond(died time.Time, attempts []cluster.Attempt) outcome {
	o := outcome{sent: map[int]int{}, failed: map[int]int{}}
	for _, a := range attempts {
		second := int(a.Start.Sub(died) / time.Second)
		o.sent[second]++
		if !a.OK {
			o.failed[second]++
		}
	}
	return o
}

// total returns the sums of the first n seconds, and the last second with a failure; -1 if
// there is none.
func (o outcome) total(n int) (sent, failed, last int) {
	last = -1
	for second := range n {
		sent += o.sent[second]
		failed += o.failed[second]
		if o.failed[second] > 0 {
			last = second
		}
	}
	return sent, failed, last
}

// printTable prints the failed requests of each second in which any has failed.
func printTable(w io.Writer, seconds int, without, with outcome) {
	fmt.Fprintln(w, "second after   failed requests, of all")
	fmt.Fprintln(w, "the death      without         with --report-dead-nodes")
	for s := range seconds {
		if without.failed[s] > 0 || with.failed[s] > 0 {
			fmt.Fprintf(w, "%12d   %5d of %4d   %5d of %4d\n", s, without.failed[s], without.sent[s], with.failed[s], with.sent[s])
		}
	}
	sentA, failedA, lastA := without.total(seconds)
	sentB, failedB, lastB := with.total(seconds)
	fmt.Fprintf(w, "%12s   %5d of %4d   %5d of %4d\n", "all", failedA, sentA, failedB, sentB)
	fmt.Fprintf(w, "The last failed request began in second %d without, %d with (-1: none).\n", lastA, lastB)
	for _, text := range with.events {
		fmt.Fprintln(w, "Event on", text)
	}
}
