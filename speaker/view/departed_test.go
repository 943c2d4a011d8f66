package view

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// Members are written as letters: "a" is present, "A" is lost, and "a-" has no links yet.
func TestDepartedMemberIsRememberedWhileItsKernelMayLive(t *testing.T) {
	type step struct {
		at         time.Duration
		members    string
		kernelDead string
		ready      string
		want       string
		again      time.Duration // from this step on
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a speaker leaves and does not come back", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "a", "", "ab", "b", departedMemory - time.Second},
			{departedMemory - time.Second, "a", "", "ab", "b", time.Second},
			{departedMemory, "a", "", "ab", "", 0},
		}},
		{"a speaker is restarted", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "a", "", "ab", "b", departedMemory - time.Second},
			{2 * time.Second, "ab-", "", "ab", "b", departedMemory - 2*time.Second},
			{3 * time.Second, "ab", "", "ab", "", 0},
			{4 * time.Second, "a", "", "ab", "b", departedMemory - time.Second},
		}},
		{"a speaker dies, and then its Node is not Ready", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "aB", "", "ab", "b", departedMemory - time.Second},
			{40 * time.Second, "aB", "", "a", "", 0},
			{50 * time.Second, "aB", "", "ab", "", 0}, // the machine was started again
		}},
		{"a kernel dies", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "ab", "b", "ab", "", 0},
			{2 * time.Second, "aB", "b", "ab", "", 0},
			{3 * time.Second, "aB", "", "ab", "", 0},
		}},
		{"two leave, one after the other", []step{
			{0, "abc", "", "abc", "", 0},
			{time.Minute, "ab", "", "abc", "c", departedMemory - time.Minute},
			{2 * time.Minute, "a", "", "abc", "bc", departedMemory - 2*time.Minute},
			{departedMemory, "a", "", "abc", "b", time.Minute},
		}},
		{"a lost member that was never seen", []step{{0, "aB", "", "ab", "", 0}}},
	} {
		var d departed
		d.seed(time.Unix(1000, 0), "self", nil)
		start := time.Unix(1000, 0)
		for _, step := range tt.steps {
			now := start.Add(step.at)
			got := ""
			for _, m := range d.update(now, lettered(step.members), heartbeat.View{KernelDead: letters(step.kernelDead)}, letters(step.ready), noneSpread) {
				got += m.Name
				if len(m.Profile.Links) == 0 {
					t.Errorf("%s: after %v the links of %s are forgotten", tt.name, step.at, m.Name)
				}
			}
			if again := after(now, time.Time{}, d.again); got != step.want || again != step.again {
				t.Errorf("%s: after %v %q and again after %v, want %q and %v", tt.name, step.at, got, again, step.want, step.again)
			}
		}
	}
}

func lettered(text string) (all []members.Member) {
	for _, r := range text {
		if r == '-' {
			all[len(all)-1].Profile.Links = nil
			continue
		}
		m := members.Member{Name: string(r), Profile: members.Profile{Links: []members.Link{{Name: "eth0"}}}}
		if r < 'a' {
			m.Name, m.Lost = string(r-'A'+'a'), true
		}
		all = append(all, m)
	}
	return all
}

func noneSpread() map[netip.Addr]bool { return nil }

// The kernel of a member has rules for what was spread when its speaker left, and not for what is spread later.
func TestDepartedMemberHasRulesForWhatWasSpreadWhenItLeft(t *testing.T) {
	first, second := addr("192.0.2.7"), addr("192.0.2.8")
	now, spread := time.Unix(1000, 0), map[netip.Addr]bool{}
	var d departed
	d.seed(now, "self", map[string]configmap.NodeLinks{"c": {Spread: SpreadLinks([]links.Link{{Name: "eth0"}}, true)}})
	for _, step := range []struct {
		members string
		becomes netip.Addr // spread, before this step
		want    map[string]map[netip.Addr]bool
	}{
		{"ab", first, map[string]map[netip.Addr]bool{"c": nil}},
		{"a", netip.Addr{}, map[string]map[netip.Addr]bool{"b": {first: true}, "c": nil}},
		{"a", second, map[string]map[netip.Addr]bool{"b": {first: true}, "c": nil}},
		{"ab", netip.Addr{}, map[string]map[netip.Addr]bool{"c": nil}},
		{"a", netip.Addr{}, map[string]map[netip.Addr]bool{"b": {first: true, second: true}, "c": nil}},
	} {
		if step.becomes.IsValid() {
			spread[step.becomes] = true
		}
		now = now.Add(time.Second)
		got := map[string]map[netip.Addr]bool{}
		for _, m := range d.update(now, lettered(step.members), heartbeat.View{}, letters("abc"), func() map[netip.Addr]bool { return maps.Clone(spread) }) {
			got[m.Name] = m.Spread
		}
		if !reflect.DeepEqual(got, step.want) {
			t.Errorf("%s: %v, want %v", step.members, got, step.want)
		}
	}
}

func TestLostMemberThatIsHeardAgainIsNotDeparted(t *testing.T) {
	var d departed
	d.seed(time.Time{}, "self", nil)
	d.update(time.Unix(1000, 0), lettered("ab"), heartbeat.View{}, letters("ab"), noneSpread)
	if gone := d.update(time.Unix(1001, 0), lettered("aB"), heartbeat.View{Returned: letters("b")}, letters("ab"), noneSpread); len(gone) > 0 {
		t.Errorf("%+v", gone)
	}
}

func TestInputsAreReadAgainAtTheFirstTime(t *testing.T) {
	now := time.Unix(1000, 0)
	for want, times := range map[time.Duration][]time.Time{
		0:                {{}, {}},
		time.Second:      {{}, now.Add(time.Second)},
		2 * time.Second:  {now.Add(2 * time.Second), now.Add(3 * time.Second)},
		time.Millisecond: {now.Add(time.Second), now.Add(-time.Second)},
	} {
		if got := after(now, times...); got != want {
			t.Errorf("%s", fmt.Sprint(times, ": ", got, ", want ", want))
		}
	}
}
