package main

import (
	"fmt"
	"io"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

// outcome is what the client noticed of a death, and what the cluster manager said.
type outcome struct {
	deaths.Outcome
	events []string // of the cluster manager, about dead nodes
}

// printTable prints the failed requests of each second in which any has failed.
func printTable(w io.Writer, seconds int, without, with outcome) {
	fmt.Fprintln(w, "second after   failed requests, of all")
	fmt.Fprintln(w, "the death      without         with --report-dead-nodes")
	for s := range seconds {
		if without.Failed[s] > 0 || with.Failed[s] > 0 {
			fmt.Fprintf(w, "%12d   %5d of %4d   %5d of %4d\n", s, without.Failed[s], without.Sent[s], with.Failed[s], with.Sent[s])
		}
	}
	sentA, failedA, lastA := without.Total(0, seconds)
	sentB, failedB, lastB := with.Total(0, seconds)
	fmt.Fprintf(w, "%12s   %5d of %4d   %5d of %4d\n", "all", failedA, sentA, failedB, sentB)
	fmt.Fprintf(w, "The last failed request began in second %d without, %d with (-1: none).\n", lastA, lastB)
	for _, text := range with.events {
		fmt.Fprintln(w, "Event on", text)
	}
}
