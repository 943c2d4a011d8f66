package cluster

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

func TestPageIsReadAsItIsWritten(t *testing.T) {
	for _, want := range []Page{{"web-1", "worker", "192.168.120.11"}, {"web-2", "node1", "fd00:120::100"}} {
		got, err := ParsePage(fmt.Sprintf(pageFormat+"\n", want.Pod, want.Node, want.Client))
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	if p, err := ParsePage("404 page not found"); err == nil {
		t.Errorf("another page is read as %+v", p)
	}
}

func TestLoopsAreRead(t *testing.T) {
	const text = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"name": "looped", "elem": [
		{"elem": {"val": {"concat": ["02:00:00:00:00:0b", 62]}, "counter": {"packets": 3, "bytes": 120}}}]}}]}`
	loops, err := parseLoops([]byte(text))
	if want := []Loop{{"02:00:00:00:00:0b", 62, 3}}; err != nil || !slices.Equal(loops, want) {
		t.Errorf("got %v, %v; want %v", loops, err, want)
	}
}

func TestCountersOfASetAreRead(t *testing.T) {
	const text = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"family": "bridge", "name": "seen", "elem": [
		{"elem": {"val": 80, "counter": {"packets": 3, "bytes": 120}}}, {"elem": {"val": 4096, "counter": {"packets": 1, "bytes": 40}}}]}}]}`
	counts, err := parseCounters([]byte(text))
	if err != nil || !maps.Equal(counts, map[uint16]int{80: 3, 4096: 1}) {
		t.Errorf("got %v, %v", counts, err)
	}
}
