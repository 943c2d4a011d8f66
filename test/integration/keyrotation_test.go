package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/tutorial"
)

// The three commands of docs/guides/rotate-key.md, one directly after the other, and then
// the deletion of the Secret.
func TestKeyRotationUnderTrafficLosesNothing(t *testing.T) {
	f := setUp(t)
	page, err := os.ReadFile(filepath.Join(f.cluster.Root(), "docs", "guides", "rotate-key.md"))
	f.must(err)
	steps := slices.DeleteFunc(tutorial.Parse(string(page)), func(s tutorial.Step) bool { return s.Command == "" })
	if len(steps) != 3 {
		f.Fatalf("the page has %d commands, want 3", len(steps))
	}
	shell := tutorial.NewShell(f.cluster.Root(), f.cluster.Kubeconfig(), f.cluster.Binary("kubectl"))

	f.noneStandsBack()
	f.create(service("rotated"))
	vip := f.assigned("rotated")
	f.settled()
	f.fetched(vip)
	owner := f.owner(vip) // the client may know a node from an earlier test, before the first announcement
	f.acceptKeys("1")
	deaths := f.metric(`baremetal_heartbeat_deaths_total`)
	rejected := f.metric(`baremetal_heartbeat_rejected_total\{reason="key"\}`)
	probe, err := f.cluster.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	asker, err := f.cluster.Ask(vip, 10*time.Millisecond)
	f.must(err)
	defer asker.Stop()

	for _, change := range []struct {
		name string
		do   func(f *fixture)
	}{
		{"the three commands", func(f *fixture) {
			first, _ := f.memberKeys()
			for _, step := range steps {
				out, err := shell.Run(f.Context(), step.Command)
				if err != nil || !step.Matches(out) {
					f.Fatalf("%s: %v\n%s", step.Command, err, out)
				}
			}
			now, accepted := f.memberKeys()
			if len(now) != 32 || now == first || accepted != "" {
				f.Fatalf("after the commands the Secret has keys of %d and %d bytes, or the first one is the old one", len(now), len(accepted))
			}
		}},
		{"the Secret is deleted", func(f *fixture) {
			first, _ := f.memberKeys()
			f.kubectl("-n", "baremetal-system", "delete", "secret", "memberlist")
			f.eventually("the Secret exists again, with another key", func() bool {
				secret, err := f.cluster.Client.CoreV1().Secrets("baremetal-system").Get(f.Context(), "memberlist", metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return false
				}
				f.must(err)
				return string(secret.Data["secretkey"]) != first
			})
		}},
	} {
		f.Run(change.name, func(f *fixture) {
			begun := time.Now()
			change.do(f)
			f.acceptKeys("2") // the new key, and the old one for a minute
			f.must(f.cluster.WaitFor(f.Context(), "the speakers have forgotten the old key", 2*time.Minute, func() bool { return f.acceptsKeys("1") }))
			f.settled()
			n := len(probe.Attempts(begun))
			f.eventually("100 more connections", func() bool { return len(probe.Attempts(begun)) > n+100 })

			attempts := probe.Attempts(begun)
			failed := slices.DeleteFunc(slices.Clone(attempts), func(a cluster.Attempt) bool { return a.OK })
			unanswered := asker.Unanswered(begun)
			f.Logf("%d connections, %d failed; %d ARP requests for the address, %d unanswered", len(attempts), len(failed), len(asker.Since(begun)), unanswered)
			// Within a minute the namespaces lose single connections without any change, about one
			// in 30,000. A lost member would cost some thirty in a row.
			if len(failed) > len(attempts)/3000 || unanswered > 0 {
				f.Errorf("%d connections failed, %d ARP requests were not answered; failed connections %v", len(failed), unanswered, failed)
			}
			if moves := asker.Moves(begun); len(moves) > 0 || f.announcer(vip) != owner {
				f.Errorf("the address has moved: %v", moves)
			}
			if got := f.metric(`baremetal_heartbeat_deaths_total`); !slices.Equal(got, deaths) {
				f.Errorf("deaths on the nodes: %v before, %v now", deaths, got)
			}
			if got := f.metric(`baremetal_heartbeat_rejected_total\{reason="key"\}`); !slices.Equal(got, rejected) {
				f.Errorf("heartbeats rejected for their key on the nodes: %v before, %v now", rejected, got)
			}
		})
	}

	f.Run("a speaker that starts has the new key", func(f *fixture) {
		n := f.cluster.Nodes()[0]
		n.Speaker().Stop()
		f.must(n.StartSpeaker(f.Context()))
		f.must(n.WaitReady(f.Context()))
		f.settled()
	})
}

// noneStandsBack waits until no speaker leaves its addresses to others. A speaker that an earlier
// test has killed does so for a minute, and then takes addresses back.
func (f *fixture) noneStandsBack() {
	f.Helper()
	f.must(f.cluster.WaitFor(f.Context(), "no speaker is suppressed", 5*time.Minute, func() bool {
		return !slices.ContainsFunc(f.cluster.Nodes(), func(n *cluster.Node) bool {
			plan, err := n.Get(f.Context(), "/debug/plan")
			return err != nil || strings.Contains(plan, "suppressed:")
		})
	}))
}

// memberKeys returns the keys in the Secret.
func (f *fixture) memberKeys() (send, accepted string) {
	f.Helper()
	secret, err := f.cluster.Client.CoreV1().Secrets("baremetal-system").Get(f.Context(), "memberlist", metav1.GetOptions{})
	f.must(err)
	return string(secret.Data["secretkey"]), string(secret.Data["secretkey-accepted"])
}

// acceptKeys waits until every speaker accepts this number of keys.
func (f *fixture) acceptKeys(n string) {
	f.Helper()
	f.eventually("every speaker accepts "+n+" keys", func() bool { return f.acceptsKeys(n) })
}

func (f *fixture) acceptsKeys(n string) bool {
	for _, got := range f.metric("baremetal_members_keys") {
		if got != n {
			return false
		}
	}
	return true
}

// metric returns the values of a metric on all nodes; pattern matches its name and labels.
// The value is "0" where the metric does not exist yet.
func (f *fixture) metric(pattern string) (values []string) {
	f.Helper()
	line := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`)
	for _, n := range f.cluster.Nodes() {
		text, err := n.Get(f.Context(), "/metrics")
		f.must(err)
		value := "0"
		if m := line.FindStringSubmatch(text); m != nil {
			value = strings.TrimSpace(m[1])
		}
		values = append(values, value)
	}
	return values
}
