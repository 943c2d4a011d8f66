package integration

import (
	"cmp"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The attacker is a host on the nodes' segment. It has no key. One node is dead, because its
// MAC address and a recording of its heartbeats are the best that an attacker can have.
//
// `make attack` attacks for five minutes.
func TestAttackerTakesNoAddressAway(t *testing.T) {
	f := setUp(t)
	during, err := time.ParseDuration(cmp.Or(os.Getenv("ATTACK"), "15s"))
	f.must(err)
	var vips []string
	for _, name := range []string{"attacked1", "attacked2", "attacked3", "attacked4"} {
		f.create(service(name, families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
		vips = append(vips, strings.Split(f.assigned(name), ",")...)
	}
	var asked []string // ARP shows whether an address is answered
	for _, vip := range vips {
		if !strings.Contains(vip, ":") {
			f.announcer(vip)
			asked = append(asked, vip)
		}
	}
	dead := f.owner(asked[0]) // at least one address has been taken over from the dead node
	recorded, err := f.cluster.Record(dead, time.Second)
	f.must(err)
	if len(recorded) == 0 {
		f.Fatal("no heartbeat was recorded")
	}
	f.must(dead.Kill())
	f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
	for _, vip := range asked {
		f.announcer(vip, dead)
	}

	logged := map[string]int{}
	for _, n := range f.cluster.Nodes() {
		logged[n.Name] = len(n.Speaker().Log())
	}
	attacker, err := f.cluster.Attack()
	f.must(err)
	defer attacker.Stop()
	f.must(attacker.ForgeNeighbours(100*time.Millisecond, dead.MAC, vips...))
	attacker.Replay(time.Millisecond, recorded)
	for _, n := range f.cluster.Nodes() {
		if n == dead {
			continue
		}
		for _, port := range []string{"7946", "7947", "7472"} {
			attacker.HoldTCP(50, n.Addr()+":"+port)
			f.must(attacker.FloodUDP(time.Millisecond, n.Addr()+":"+port))
		}
	}
	begun := time.Now()
	watched := map[string]func() time.Duration{}
	for _, vip := range asked {
		asker, err := f.cluster.Ask(vip, 20*time.Millisecond)
		f.must(err)
		defer asker.Stop()
		watched[vip] = func() time.Duration { return asker.LongestSilence(begun) }
	}
	limit := f.memoryLimit()
	most := map[string]int64{}
	for time.Since(begun) < during {
		for _, n := range f.cluster.Nodes() {
			used, err := n.Speaker().Memory()
			f.must(err)
			most[n.Name] = max(most[n.Name], used)
		}
		time.Sleep(100 * time.Millisecond) // the attack lasts as long as the test is told
	}

	for _, vip := range slices.Sorted(maps.Keys(watched)) {
		silence := watched[vip]()
		f.Logf("%s: not answered for %v at most", vip, silence)
		if silence > time.Second {
			f.Errorf("%s was not answered for %v", vip, silence)
		}
	}
	for _, n := range f.cluster.Nodes() {
		f.Logf("speaker of %s: %d MB at most", n.Name, most[n.Name]>>20)
		if most[n.Name] > limit {
			f.Errorf("the speaker of %s used %d MB, its limit is %d MB", n.Name, most[n.Name]>>20, limit>>20)
		}
		if n == dead {
			continue
		}
		allowed := 10 * int(1+during/time.Minute)
		for text, lines := range kinds(n.Speaker().Log()[logged[n.Name]:]) {
			if lines > allowed {
				f.Errorf("the speaker of %s logged %d lines %q, %d are allowed", n.Name, lines, text, allowed)
			}
		}
		plan, err := n.Get(f.Context(), "/debug/plan")
		f.must(err)
		if strings.Contains(plan, "owner="+dead.Name) {
			f.Errorf("%s believes that the dead node lives:\n%s", n.Name, plan)
		}
	}
}

// kinds counts the lines of a log by their message.
func kinds(log string) map[string]int {
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m) msg=("[^"]*"|\S+)`).FindAllStringSubmatch(log, -1) {
		counts[m[1]]++
	}
	return counts
}

// memoryLimit returns the speaker's limit in the manifests.
func (f *fixture) memoryLimit() int64 {
	f.Helper()
	text, err := os.ReadFile(f.cluster.Root() + "/manifests/speaker.yaml")
	f.must(err)
	var set appsv1.DaemonSet
	f.must(yaml.Unmarshal(text, &set))
	limit, ok := set.Spec.Template.Spec.Containers[0].Resources.Limits[v1.ResourceMemory]
	if !ok || limit.Cmp(resource.MustParse("1Gi")) > 0 {
		f.Fatalf("the speaker has no memory limit in its manifest, or a large one: %s", limit.String())
	}
	return limit.Value()
}
