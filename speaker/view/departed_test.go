package view

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
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
			{time.Second, "a", "", "ab", "b", leftAfter - time.Second},
			{leftAfter, "a", "", "ab", "b", departedMemory - leftAfter},
			{departedMemory - time.Second, "a", "", "ab", "b", time.Second},
			{departedMemory, "a", "", "ab", "", 0},
		}},
		{"a speaker is restarted", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "a", "", "ab", "b", leftAfter - time.Second},
			{2 * time.Second, "ab-", "", "ab", "b", leftAfter - 2*time.Second},
			{3 * time.Second, "ab", "", "ab", "", 0},
			{4 * time.Second, "a", "", "ab", "b", leftAfter - time.Second},
		}},
		{"a speaker dies, and then its Node is not Ready", []step{
			{0, "ab", "", "ab", "", 0},
			{time.Second, "aB", "", "ab", "b", leftAfter - time.Second},
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
			{2 * time.Minute, "a", "", "abc", "bc", departedMemory - 2*time.Minute}, // b has left a minute ago
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
			for _, m := range d.update(now, lettered(step.members), heartbeat.View{KernelDead: letters(step.kernelDead)}, letters(step.ready), noneSpread).gone {
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

// The kernel of a member has rules for what was spread when its speaker left or was fenced, and not for what is spread
// later. When it comes back, it says that it spreads as soon as its kernel has the rules. A member with "-" does not
// spread, one with "!" is fenced.
func TestKernelHasRulesForWhatWasSpreadWhenItsSpeakerLeft(t *testing.T) {
	first, second := addr("192.0.2.7"), addr("192.0.2.8")
	one, two := map[netip.Addr]bool{first: true}, map[netip.Addr]bool{first: true, second: true}
	type known map[string]map[netip.Addr]bool
	now, spread := time.Unix(1000, 0), map[netip.Addr]bool{}
	var d departed
	d.seed(now, "self", map[string]configmap.NodeLinks{"c": {Spread: SpreadLinks([]links.Link{{Name: "eth0"}}, true)}})
	for i, step := range []struct {
		b       string
		becomes netip.Addr // spread, before this step
		want    known
	}{
		{"b", first, known{}},
		{"", netip.Addr{}, known{"b": one}},
		{"", second, known{"b": one}},
		{"b-", netip.Addr{}, known{"b": one}},
		{"", netip.Addr{}, known{"b": one}}, // it has crashed before its kernel had the new rules
		{"b", netip.Addr{}, known{}},
		{"", netip.Addr{}, known{"b": two}},
		{"b", netip.Addr{}, known{}},
		{"b!", netip.Addr{}, known{"b": two}},
		{"b!", addr("192.0.2.9"), known{"b": two}},
		{"b", netip.Addr{}, known{}},
	} {
		if step.becomes.IsValid() {
			spread[step.becomes] = true
		}
		var others []members.Member
		if step.b != "" {
			b := members.Member{Name: "b", Profile: members.Profile{Links: []members.Link{{Name: "eth0"}}, HandsOn: true}}
			b.Profile.Spreads, b.Profile.Fenced = !strings.Contains(step.b, "-"), strings.Contains(step.b, "!")
			others = append(others, b)
		}
		now = now.Add(time.Second)
		got := d.update(now, others, heartbeat.View{}, letters("bc"), func() map[netip.Addr]bool { return maps.Clone(spread) }).hasRules
		if !maps.EqualFunc(got, step.want, maps.Equal[map[netip.Addr]bool, map[netip.Addr]bool]) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestKernelHasNoRulesIfNothingWasSpread(t *testing.T) {
	var d departed
	d.seed(time.Unix(1000, 0), "self", nil)
	for _, members := range []string{"ab", "a"} {
		d.update(time.Unix(1000, 0), lettered(members), heartbeat.View{}, letters("ab"), func() map[netip.Addr]bool { return map[netip.Addr]bool{} })
	}
	if seen := d.last["b"]; seen.hasRules == nil || len(seen.hasRules) > 0 {
		t.Errorf("%v, want an empty map: nil is for all addresses", seen.hasRules)
	}
}

// One speaker writes which others have left. A restart is not written.
func TestFirstSpeakerWritesWhichOthersHaveLeft(t *testing.T) {
	for self, isFirst := range map[string]bool{"a": true, "c": false} {
		var d departed
		start := time.Unix(1000, 0)
		d.seed(start, self, nil)
		present := map[string]string{"a": "c", "c": "a"}[self]
		d.update(start, lettered(present+"bd"), heartbeat.View{}, letters("abcd"), noneSpread)
		d.update(start.Add(time.Second), lettered(present+"d"), heartbeat.View{}, letters("abcd"), noneSpread)
		if found := d.update(start.Add(leftAfter-time.Second), lettered(present), heartbeat.View{}, letters("abcd"), noneSpread); len(found.left) > 0 {
			t.Errorf("%s: %v have left so soon", self, found.left)
		}
		found := d.update(start.Add(leftAfter), lettered(present), heartbeat.View{}, letters("abcd"), noneSpread)
		want := map[string]time.Time{}
		if isFirst {
			want["b"] = start
		}
		if !maps.Equal(found.left, want) {
			t.Errorf("%s: %v have left, want %v", self, found.left, want)
		}
	}
}

func TestLostMemberThatIsHeardAgainIsNotDeparted(t *testing.T) {
	var d departed
	d.seed(time.Time{}, "self", nil)
	d.update(time.Unix(1000, 0), lettered("ab"), heartbeat.View{}, letters("ab"), noneSpread)
	if gone := d.update(time.Unix(1001, 0), lettered("aB"), heartbeat.View{Returned: letters("b")}, letters("ab"), noneSpread).gone; len(gone) > 0 {
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
