package main

import (
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

func TestTableHasTheFailedRequestsOfEachSecond(t *testing.T) {
	died := time.Unix(1000, 0)
	at := func(ms int, ok bool) cluster.Attempt {
		return cluster.Attempt{Start: died.Add(time.Duration(ms) * time.Millisecond), OK: ok}
	}
	without := outcome{Outcome: deaths.BySecond(died, []cluster.Attempt{at(0, false), at(999, true), at(1000, false), at(3500, false), at(3600, true), at(9000, false)})}
	with := outcome{Outcome: deaths.BySecond(died, []cluster.Attempt{at(10, false), at(2500, true)})}
	var out strings.Builder
	printTable(&out, 5, without, with)
	for _, want := range []string{
		"           0       1 of    2       1 of    1\n           1       1 of    1       0 of    0\n           3       1 of    2       0 of    0\n",
		"         all       3 of    5       1 of    2\n",
		"in second 3 without, 0 with",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
