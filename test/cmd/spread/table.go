package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// printResults prints what was measured without and with spread, as a table in Markdown.
func printResults(w io.Writer, o options, without, with result) {
	row := func(what, a, b, ratio string) { fmt.Fprintf(w, "| %s | %s | %s | %s |\n", what, a, b, ratio) }
	rate := func(what string, a, b, unit float64) {
		row(what, fmt.Sprintf("%.0f", a/unit), fmt.Sprintf("%.0f", b/unit), fmt.Sprintf("%.2f", b/a))
	}
	row("", "without spread", "with spread", "ratio")
	row("---", "---", "---", "---")
	row(fmt.Sprintf("%d connections from one host on the segment, by the node that carries them", o.connections), counts(without.segment), counts(with.segment), "")
	row(fmt.Sprintf("%d connections from one host behind a router", o.connections), counts(without.routed), counts(with.routed), "")
	row(fmt.Sprintf("the announcer dies: of %d open connections go on", o.talks), fmt.Sprint(without.death.goOn), fmt.Sprint(with.death.goOn), "")
	row("longest stall of these", stall(without.death), stall(with.death), "")
	row("new connections that fail, and until when", failures(without.death), failures(with.death), "")
	rate("datagrams of 18 bytes that the announcer takes, thousands in a second of CPU", without.packets, with.packets, 1e3)
	rate("upload over one connection, MB/s", without.upload, with.upload, 1e6)
	rate("download over one connection, MB/s", without.download, with.download, 1e6)
}

// counts lists counts in the order of the nodes' names.
func counts(byNode map[string]int) string {
	var parts []string
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		parts = append(parts, fmt.Sprintf("%s %d", node, byNode[node]))
	}
	return strings.Join(parts, ", ")
}

func stall(d death) string {
	if d.goOn == 0 {
		return "none"
	}
	return fmt.Sprintf("%d ms", d.stall.Milliseconds())
}

func failures(d death) string {
	return fmt.Sprintf("%d, until %d ms", d.failed, d.outage.Round(time.Millisecond).Milliseconds())
}

// spans are the seconds of the rows of printDeaths, each from begin to before the next.
var spans = []int{0, 1, 2, 10, 30, 40, 50, 60}

// printDeaths prints the requests that failed after each death, as a table in Markdown.
func printDeaths(w io.Writer, seconds int, columns []column) {
	head, line := "| second after the death |", "|---|"
	for _, c := range columns {
		head += fmt.Sprintf(" %s, %s spread |", c.policy, map[bool]string{false: "without", true: "with"}[c.spread])
		line += "---|"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, line)
	for i, begin := range spans {
		end := seconds
		if i+1 < len(spans) {
			end = min(end, spans[i+1])
		}
		if begin < end {
			printSpan(w, span(begin, end), begin, end, columns)
		}
	}
	printSpan(w, "all", 0, seconds, columns)
	last := "| last second with a failure |"
	for _, c := range columns {
		if _, _, second := c.outcome.Total(0, seconds); second < 0 {
			last += " none |"
		} else {
			last += fmt.Sprintf(" %d |", second)
		}
	}
	fmt.Fprintln(w, last)
}

func span(begin, end int) string {
	if end == begin+1 {
		return fmt.Sprint(begin)
	}
	return fmt.Sprintf("%d to %d", begin, end-1)
}

func printSpan(w io.Writer, name string, begin, end int, columns []column) {
	row := "| " + name + " |"
	for _, c := range columns {
		sent, failed, _ := c.outcome.Total(begin, end)
		row += fmt.Sprintf(" %d of %d |", failed, sent)
	}
	fmt.Fprintln(w, row)
}
