package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// fetched waits until the client gets a page from the address.
func (f *fixture) fetched(vip string) string {
	f.Helper()
	var page string
	f.eventually("a page from "+vip, func() bool {
		var err error
		page, err = f.cluster.Fetch(f.Context(), vip)
		return err == nil && strings.HasPrefix(page, "Welcome!")
	})
	return page
}

// stillRuns checks that a Service still has its address, and that the client gets a
// page from there.
func (f *fixture) stillRuns(name, vip string) {
	f.Helper()
	if got := addressesOf(f.get(name)); got != vip {
		f.Errorf("%s had the address %s and now has %q", name, vip, got)
	}
	f.fetched(vip)
}

// owner waits until exactly one node answers ARP for an IPv4 address, and returns
// the node.
func (f *fixture) owner(vip string) *cluster.Node {
	f.Helper()
	var node *cluster.Node
	f.eventually("one owner of "+vip, func() bool {
		macs, err := f.cluster.WhoHas(vip, 100*time.Millisecond)
		if err != nil {
			f.Fatal(err)
		}
		if len(macs) == 1 {
			node = f.cluster.NodeByMAC(macs[0])
		}
		return node != nil
	})
	return node
}

// announcer waits until the speakers agree on the owner of an address, and returns
// the owner. The speakers of the dead nodes are not asked, and a dead node does not
// count as the owner.
func (f *fixture) announcer(vip string, dead ...*cluster.Node) *cluster.Node {
	f.Helper()
	var owner *cluster.Node
	f.eventually("speakers agree on "+vip, func() bool {
		owners := map[*cluster.Node]bool{}
		for _, n := range f.cluster.Nodes() {
			if slices.Contains(dead, n) {
				continue
			}
			plan, err := n.Get(context.Background(), "/debug/plan")
			if err != nil {
				return false
			}
			_, rest, _ := strings.Cut(plan, "\n"+vip+" ")
			_, rest, _ = strings.Cut(rest, "owner=")
			name, _, _ := strings.Cut(rest, " ")
			owner = f.cluster.Node(name)
			owners[owner] = true
		}
		return len(owners) == 1 && owner != nil && !slices.Contains(dead, owner)
	})
	return owner
}

// settled waits until every speaker sees all members, and all speakers can announce.
func (f *fixture) settled() {
	f.Helper()
	f.must(f.cluster.Settled(context.Background()))
}

// event waits for an Event about an object whose message contains text.
func (f *fixture) event(kind, name, reason, text string) {
	f.Helper()
	f.eventually(fmt.Sprintf("event %s on %s %s with %q", reason, kind, name, text), func() bool {
		events, err := f.cluster.Client.CoreV1().Events(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{
			FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name + ",reason=" + reason})
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

// healthCheck waits until the health check node port of a Service answers with the
// wanted HTTP status on each node.
func (f *fixture) healthCheck(name string, want map[string]int) {
	f.Helper()
	port := f.get(name).Spec.HealthCheckNodePort
	for node, status := range want {
		f.eventually(fmt.Sprintf("health check of %s on %s says %d", name, node, status), func() bool {
			return f.cluster.HealthCheck(context.Background(), f.cluster.Node(node), port) == status
		})
	}
}

// grep returns the lines of a text that contain what.
func grep(text, what string) string {
	var found strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			found.WriteString(line)
		}
	}
	return found.String()
}

// lost returns the connections that failed, except for one connection per move that
// was being opened at the moment of the move. The second packet of such a connection
// reaches the new owner. The kernel of the new owner does not know the first packet,
// and drops or resets the connection. Layer 2 cannot prevent that.
func lost(probe *cluster.Probe, asker *cluster.Asker, since time.Time) (failed []cluster.Attempt) {
	const before, after = 30 * time.Millisecond, 60 * time.Millisecond
	moves := asker.Moves(since)
	for _, a := range probe.Attempts(since) {
		if a.OK {
			continue
		}
		inFlight := slices.IndexFunc(moves, func(move time.Time) bool { return move.After(a.Start.Add(-before)) && move.Before(a.Start.Add(after)) })
		if inFlight < 0 {
			failed = append(failed, a)
			continue
		}
		moves = slices.Delete(moves, inFlight, inFlight+1)
	}
	return failed
}
