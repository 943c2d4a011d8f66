package main

import (
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

func TestTableOfDeathsHasTheFailuresOfEachSpan(t *testing.T) {
	died := time.Unix(1000, 0)
	at := func(ms int, ok bool) cluster.Attempt {
		return cluster.Attempt{Start: died.Add(time.Duration(ms) * time.Millisecond), OK: ok}
	}
	columns := []column{
		{policy: "Cluster", outcome: deaths.BySecond(died, []cluster.Attempt{at(0, false), at(1500, false), at(3500, false), at(3600, true), at(12000, false)})},
		{policy: "Local", spread: true, outcome: deaths.BySecond(died, []cluster.Attempt{at(10, true)})},
	}
	var out strings.Builder
	printDeaths(&out, 12, columns)
	const want = `| second after the death | Cluster, without spread | Local, with spread |
|---|---|---|
| 0 | 1 of 1 | 0 of 1 |
| 1 | 1 of 1 | 0 of 0 |
| 2 to 9 | 1 of 2 | 0 of 0 |
| 10 to 11 | 0 of 0 | 0 of 0 |
| all | 3 of 4 | 0 of 1 |
| last second with a failure | 3 | none |
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTableOfResultsHasRatios(t *testing.T) {
	with := result{segment: map[string]int{"node2": 1, "node1": 3}, packets: 534_000, upload: 900e6, download: 1e9, death: death{goOn: 130, stall: 212 * time.Millisecond, outage: 65 * time.Millisecond, failed: 7}}
	without := result{segment: map[string]int{"node2": 4}, packets: 300_000, upload: 1e9, download: 1e9}
	var out strings.Builder
	printResults(&out, options{talks: 200}, without, with)
	for _, want := range []string{"| node2 4 | node1 3, node2 1 |  |", "| 300 | 534 | 1.78 |", "| 1000 | 900 | 0.90 |", "| none | 212 ms |", "| 0, until 0 ms | 7, until 65 ms |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
