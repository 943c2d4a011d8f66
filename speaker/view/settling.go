package view

import "time"

// settleTime is how long an endpoint must be ready until its node counts. kube-proxy on that
// node hears of the endpoint at the same time as the speakers, and writes its rules up to a
// second later (--iptables-min-sync-period, --nftables minSyncPeriod). Traffic that comes
// before is lost.
const settleTime = 2 * time.Second

// settling remembers since when the nodes have ready endpoints of the Services with policy
// Local.
type settling struct {
	// since has the time by Service and node, as of the last pass; the zero Time for endpoints
	// that were ready when the Service was seen first.
	since map[string]map[string]time.Time
	// next is made by the present pass.
	next map[string]map[string]time.Time
	// again is when the first endpoint settles; the zero Time if none will.
	again time.Time
}

// begin begins a pass.
func (s *settling) begin() { s.next, s.again = map[string]map[string]time.Time{}, time.Time{} }

// end ends a pass. It forgets the Services that were not asked for.
func (s *settling) end() { s.since = s.next }

// nodes returns the nodes that count for a Service: those whose endpoint has settled. If there
// is none, those with an endpoint that still serves while it terminates. If there is none
// either, those that became ready first, so that the address does not follow each pod that
// starts.
func (s *settling) nodes(now time.Time, service string, ready, terminating []string) []string {
	before, known := s.since[service]
	since := make(map[string]time.Time, len(ready))
	var settled, first []string
	for _, node := range ready {
		at, seen := before[node]
		if !seen && known {
			at = now
		}
		since[node] = at
		due := at.Add(settleTime)
		if !now.Before(due) {
			settled = append(settled, node)
			continue
		}
		if s.again.IsZero() || due.Before(s.again) {
			s.again = due
		}
		if len(first) > 0 && at.Before(since[first[0]]) {
			first = nil
		}
		if len(first) == 0 || at.Equal(since[first[0]]) {
			first = append(first, node)
		}
	}
	s.next[service] = since
	switch {
	case len(settled) > 0:
		return settled
	case len(terminating) > 0:
		return terminating
	}
	return first
}
