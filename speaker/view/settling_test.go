package view

import (
	"fmt"
	"testing"
	"time"
)

func TestNodeCountsWhenItsKubeProxyHasHadTime(t *testing.T) {
	type step struct {
		at                 time.Duration
		ready, terminating string
		want               string
		again              time.Duration // from this step on
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a pod moves to another node", []step{
			{0, "a", "", "[a]", 0},
			{time.Second, "ab", "", "[a]", settleTime},
			{1100 * time.Millisecond, "b", "a", "[a]", settleTime - 100*time.Millisecond},
			{time.Second + settleTime, "b", "a", "[b]", 0},
			{10 * time.Second, "b", "", "[b]", 0},
		}},
		{"the old pod is gone before", []step{
			{0, "a", "", "[a]", 0},
			{time.Second, "b", "", "[b]", settleTime},
		}},
		{"the first pods start one after the other", []step{
			{0, "", "", "[]", 0},
			{time.Second, "b", "", "[b]", settleTime},
			{1100 * time.Millisecond, "ab", "", "[b]", settleTime - 100*time.Millisecond},
			{time.Second + settleTime, "ab", "", "[b]", 100 * time.Millisecond},
			{1100*time.Millisecond + settleTime, "ab", "", "[a b]", 0},
		}},
		{"an endpoint that is not ready for a moment", []step{
			{0, "ab", "", "[a b]", 0},
			{time.Second, "a", "", "[a]", 0},
			{2 * time.Second, "ab", "", "[a]", settleTime},
		}},
	} {
		var s settling
		start := time.Unix(1000, 0)
		for _, step := range tt.steps {
			now := start.Add(step.at)
			s.begin()
			got := fmt.Sprint(s.nodes(now, "default/web", letters(step.ready), letters(step.terminating)))
			s.end()
			var again time.Duration
			if !s.again.IsZero() {
				again = s.again.Sub(now)
			}
			if got != step.want || again != step.again {
				t.Errorf("%s: after %v %s and again after %v, want %s and %v", tt.name, step.at, got, again, step.want, step.again)
			}
		}
	}
}

func letters(text string) (all []string) {
	for _, r := range text {
		all = append(all, string(r))
	}
	return all
}
