package election_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// equal returns shares of the same weight.
func equal(weight int, names ...string) (shares []election.Share) {
	for _, name := range names {
		shares = append(shares, election.Share{Name: name, Weight: weight})
	}
	return shares
}

func TestSlotOrderIsTheSameInEveryVersion(t *testing.T) {
	for _, tt := range []struct {
		slot   int
		shares []election.Share
		want   string
	}{
		{0, equal(1, nodes...), "[node-5 node-4 node-2 node-3 node-1]"},
		{1, equal(1, nodes...), "[node-3 node-5 node-4 node-2 node-1]"},
		{255, equal(1, nodes...), "[node-4 node-3 node-1 node-2 node-5]"},
		{0, []election.Share{{"node-1", 1}, {"node-2", 32}, {"node-3", 3}}, "[node-2 node-3 node-1]"},
		{77, []election.Share{{"node-1", 1}, {"node-2", 32}, {"node-3", 3}}, "[node-2 node-1 node-3]"},
		{7, equal(2, "", "worker-1.example.com", "worker-2.example.com"), "[worker-1.example.com worker-2.example.com ]"},
	} {
		if got := fmt.Sprint(election.SlotOrder(tt.slot, tt.shares)); got != tt.want {
			t.Errorf("SlotOrder(%d, %v) = %s, want %s", tt.slot, tt.shares, got, tt.want)
		}
	}
	var sum uint64
	for _, score := range (election.Share{Name: "node-1", Weight: 5}).Scores() {
		sum = sum*31 + score
	}
	if sum != 16846899341825963759 {
		t.Errorf("the scores of node-1 have the sum %d", sum)
	}
}

// carriers returns the node that is first in the order of each slot.
func carriers(shares []election.Share) (first [election.Slots]string) {
	for slot := range first {
		first[slot] = election.SlotOrder(slot, shares)[0]
	}
	return first
}

func TestSlotsAreSharedByWeight(t *testing.T) {
	for _, tt := range []struct {
		weights []int
		slack   int // slots
	}{
		{[]int{1, 1, 1}, 30},
		{[]int{7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 20},
		{[]int{1, 3}, 30},
		{[]int{1, 2, 3, 4, 5}, 30},
		{[]int{32, 1}, 15},
		{[]int{0, 1}, 30}, // 0 counts as 1
	} {
		var shares []election.Share
		sum := 0
		for i, w := range tt.weights {
			shares = append(shares, election.Share{Name: fmt.Sprint("node-", i), Weight: w})
			sum += max(1, w)
		}
		count := map[string]int{}
		for _, name := range carriers(shares) {
			count[name]++
		}
		for _, s := range shares {
			want := election.Slots * max(1, s.Weight) / sum
			if got := count[s.Name]; got < want-tt.slack || got > want+tt.slack || got == 0 {
				t.Errorf("%v: %s has %d slots, want about %d", tt.weights, s.Name, got, want)
			}
		}
	}
}

func TestSlotsOfADeadNodeAloneMove(t *testing.T) {
	for weight := 1; weight < 40; weight += 8 {
		shares := equal(weight, nodes...)
		moved := 0
		for slot := range election.Slots {
			all := election.SlotOrder(slot, shares)
			for i, dead := range shares {
				left := election.SlotOrder(slot, slices.Delete(slices.Clone(shares), i, i+1))
				if want := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == dead.Name }); !slices.Equal(left, want) {
					t.Fatalf("slot %d without %s: %v, want %v", slot, dead.Name, left, want)
				}
				if all[0] == dead.Name {
					moved++ // and back when it returns
				}
			}
		}
		if moved != election.Slots {
			t.Errorf("%d slots move when each node dies once", moved)
		}
	}
}

func TestTicketMovesOnlySlotsToItsNode(t *testing.T) {
	shares := equal(4, nodes...)
	before := carriers(shares)
	shares[2].Weight++
	moved := 0
	for slot, name := range carriers(shares) {
		if name != before[slot] && name != "node-3" {
			t.Errorf("slot %d moves from %s to %s", slot, before[slot], name)
		}
		if name != before[slot] {
			moved++
		}
	}
	if moved == 0 || moved > 25 { // 10 expected
		t.Errorf("%d slots move", moved)
	}
}

func TestSlotOrderDoesNotDependOnTheOrderOfShares(t *testing.T) {
	shares := []election.Share{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 3}}
	reversed := slices.Clone(shares)
	slices.Reverse(reversed)
	for slot := range election.Slots {
		if a, b := election.SlotOrder(slot, shares), election.SlotOrder(slot, reversed); !slices.Equal(a, b) {
			t.Fatalf("slot %d: %v and %v", slot, a, b)
		}
	}
}

func TestScoresGiveTheSlotOrder(t *testing.T) {
	a, b := election.Share{Name: "a", Weight: 2}, election.Share{Name: "b", Weight: 3}
	for slot := range election.Slots {
		first := "a"
		if b.Scores()[slot] > a.Scores()[slot] {
			first = "b"
		}
		if got := election.SlotOrder(slot, []election.Share{a, b})[0]; got != first {
			t.Errorf("slot %d: %s, want %s", slot, got, first)
		}
	}
}

func BenchmarkAllSlotsOf10NodesWithWeight32(b *testing.B) {
	var shares []election.Share
	for i := range 10 {
		shares = append(shares, election.Share{Name: fmt.Sprintf("worker-%03d.example.com", i), Weight: 32})
	}
	b.ReportAllocs()
	for b.Loop() {
		for slot := range election.Slots {
			election.SlotOrder(slot, shares)
		}
	}
}

func BenchmarkScoresOfWeight1(b *testing.B) {
	s := election.Share{Name: "worker-001.example.com", Weight: 1}
	for b.Loop() {
		s.Scores()
	}
}
