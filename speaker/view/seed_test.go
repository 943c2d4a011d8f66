package view

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// If all speakers are restarted at once, the first of them finds what the others have published.
func TestSpeakerThatStartsAloneKnowsTheOtherNodes(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	link := links.Link{Name: "eth0", Index: 2, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Ports: [][6]byte{{2, 0, 0, 0, 0, 9}}, IPv4: netip.MustParsePrefix("192.0.2.1/24")}
	published := SpreadLinks([]links.Link{link}, true)
	nodes := map[string]configmap.NodeLinks{
		"a":      {Spread: published, Networks: map[string][]netip.Prefix{"eth0": {network}}},
		"cannot": {Spread: SpreadLinks([]links.Link{link}, false)},
		"gone":   {Spread: published},
		"odd":    {Spread: []configmap.SpreadLink{{Name: "eth0", MACs: []string{"02:00"}}, {Name: "eth1"}}},
		"self":   {Spread: published},
	}
	var d departed
	start := time.Unix(1000, 0)
	d.seed(start, "self", nodes)
	ready := []string{"a", "cannot", "odd", "self"}
	want := []members.Member{{Name: "a", Profile: members.Profile{Spreads: true, Links: []members.Link{{
		Name: "eth0", MAC: link.MAC, Ports: link.Ports, IPv4: link.IPv4, Networks: []netip.Prefix{network},
	}}}}}
	if got := d.update(start, nil, heartbeat.View{}, ready, noneSpread).gone; !reflect.DeepEqual(got, want) {
		t.Errorf("at the start: %+v, want %+v", got, want)
	}
	if got := d.update(start.Add(departedMemory), nil, heartbeat.View{}, ready, noneSpread).gone; len(got) > 0 {
		t.Errorf("for ever: %+v", got)
	}
}

// A node whose speaker was removed long ago has no rules any more.
func TestNodeWhoseSpeakerLeftCountsFromThatTime(t *testing.T) {
	start := time.Unix(10000, 0)
	published := SpreadLinks([]links.Link{{Name: "eth0"}}, true)
	var d departed
	d.seed(start, "self", map[string]configmap.NodeLinks{
		"a": {Spread: published, Left: start.Add(-departedMemory + time.Minute)},
		"b": {Spread: published, Left: start.Add(-departedMemory)},
		"c": {Spread: published, Left: start.Add(time.Hour)}, // by a clock that is ahead
	})
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {time.Minute, 1}, {departedMemory, 0}} {
		if got := d.update(start.Add(step.after), nil, heartbeat.View{}, letters("abc"), noneSpread).gone; len(got) != step.want {
			t.Errorf("after %v: %+v", step.after, got)
		}
	}
}
