package layer2

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var (
	dead  = [6]byte{2, 0, 0, 0, 0, 0x66}
	alive = [6]byte(theirs)
)

// forged returns an announcer's members: this node, one that lives and one that is dead.
func forged() map[[6]byte]Member {
	return map[[6]byte]Member{[6]byte(ours): {Name: "node1", Self: true}, alive: {Name: "node2"}, dead: {Name: "node3", Lost: true}}
}

// One frame every two seconds was enough, when such a member was believed. The test takes a
// day of simulated time.
func TestAttackByADeadNodesFramesSilencesNothing(t *testing.T) {
	announcer(t, func(h *harness) {
		h.members = forged()
		h.set(owner)
		for range 24 * 60 * 30 {
			h.claim(dead)
			h.claimOf(claim{source: dead, sender: foreign, link: "eth0"})
			if h.answersFor() != 1 || h.phase() != announcing {
				t.Fatalf("answers for %d, phase %d", h.answersFor(), h.phase())
			}
			wait(2 * time.Second)
		}
	})
}

func TestFrameBelongsToWhomBothAddressesName(t *testing.T) {
	for _, tt := range []struct {
		name           string
		source, sender [6]byte
		conflicts      int
		forged         float64
	}{
		{"a member's frame", alive, alive, 0, 0},
		{"a foreign host in a member's frame", alive, foreign, 1, 0},
		{"a member in a foreign host's frame", foreign, alive, 1, 0},
		{"one member in the frame of another", alive, dead, 1, 0},
		{"this node in another's frame", foreign, [6]byte(ours), 0, 0},
		{"a foreign host in a frame of this node", [6]byte(ours), foreign, 0, 1},
		{"a member in a frame of this node", [6]byte(ours), alive, 0, 1},
		{"this node's own frame", [6]byte(ours), [6]byte(ours), 0, 0},
	} {
		announcer(t, func(h *harness) {
			h.members = forged()
			h.set(owner)
			wait(10 * time.Second)
			h.claimOf(claim{source: tt.source, sender: tt.sender, link: "eth0"})
			if got := h.Conflicts(); len(got) != tt.conflicts || h.answersFor() != 1 {
				t.Errorf("%s: %v, answers for %d", tt.name, got, h.answersFor())
			}
			if got := h.sum(t, "baremetal_layer2_forged_total"); got != tt.forged {
				t.Errorf("%s: %v forged", tt.name, got)
			}
		})
	}
}

func TestConflictOnOneLinkDoesNotConcernTheOthers(t *testing.T) {
	announcer(t, func(h *harness) {
		both := fresh
		both.Links = []string{"eth0", "weave"}
		h.set(both)
		wait(50 * time.Millisecond)
		h.claimOf(claim{source: foreign, sender: foreign, link: "weave"})
		wait(probes * probePause)
		found := h.Conflicts()
		if h.phase() != announcing || len(found) != 1 || found[0].Link != "weave" || found[0].Announced || found[0].Nowhere {
			t.Fatalf("phase on eth0 %d, %+v", h.phase(), found)
		}
		wait(probeAgain + probes*probePause)
		if found := h.Conflicts(); len(found) > 0 {
			t.Errorf("after the host is gone: %+v", found)
		}
		only := fresh
		only.Links = []string{"weave"}
		h.set()
		h.set(only)
		wait(50 * time.Millisecond)
		h.claimOf(claim{source: foreign, sender: foreign, link: "weave"})
		if found := h.Conflicts(); len(found) != 1 || !found[0].Nowhere {
			t.Errorf("on the only link: %+v", found)
		}
	})
}

func TestPoolCanAnnounceDespiteConflicts(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(fresh)
		wait(50 * time.Millisecond)
		h.claim(foreign)
		despite := fresh
		despite.DespiteConflicts = true
		h.set(despite)
		if h.phase() != announcing {
			t.Errorf("after the pool has changed: phase %d", h.phase())
		}
		h.set()
		h.set(despite)
		wait(50 * time.Millisecond)
		h.claim(foreign)
		if h.phase() != announcing {
			t.Errorf("while probing: phase %d", h.phase())
		}
	})
}

// The attacker takes a new MAC address for every frame, and all addresses in turn.
func TestForeignHostsFillNeitherLogNorMetrics(t *testing.T) {
	announcer(t, func(h *harness) {
		var text bytes.Buffer
		h.log = slog.New(slog.NewTextHandler(&text, nil))
		h.members = forged()
		h.set(owner)
		wait(10 * time.Second)
		text.Reset()
		for i := range 6000 {
			mac := [6]byte{2, 1, 0, 0, byte(i >> 8), byte(i)}
			h.claimOf(claim{source: mac, sender: mac, link: "eth0"})
			h.claimOf(claim{source: [6]byte(ours), sender: mac, link: "eth0"})
			wait(10 * time.Millisecond)
		}
		if lines := strings.Count(text.String(), "\n"); lines == 0 || lines > 2*claimLogs {
			t.Errorf("%d lines in a minute", lines)
		}
		if got := h.series(t, "baremetal_layer2_conflict"); got != 1 {
			t.Errorf("%d series", got)
		}
	})
}

// series counts the series of a metric, sum adds their values.
func (h *harness) series(t *testing.T, name string) (n int) {
	n, _ = h.gather(t, name)
	return n
}

func (h *harness) sum(t *testing.T, name string) (sum float64) {
	_, sum = h.gather(t, name)
	return sum
}

func (h *harness) gather(t *testing.T, name string) (n int, sum float64) {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			n++
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return n, sum
}
