package main

import (
	"fmt"
	"slices"
)

// ledger knows the addresses of the Services. It is pure.
type ledger struct {
	owned   map[string][]string // addresses, by Service
	changes int                 // changes of Services that were seen
}

func newLedger() *ledger { return &ledger{owned: map[string][]string{}} }

// see takes the addresses of a Service after a change. It returns what is wrong.
func (l *ledger) see(service string, addresses []string) (wrong []string) {
	l.changes++
	before := l.owned[service]
	if len(before) > 0 && !slices.Equal(before, addresses) {
		wrong = append(wrong, fmt.Sprintf("the Service %s had %v and has %v now", service, before, addresses))
	}
	if len(addresses) > 0 {
		l.owned[service] = slices.Clone(addresses)
	}
	for other, owned := range l.owned {
		for _, addr := range addresses {
			if other != service && slices.Contains(owned, addr) {
				wrong = append(wrong, fmt.Sprintf("the Services %s and %s both have %s", min(service, other), max(service, other), addr))
			}
		}
	}
	return wrong
}

// gone forgets a Service that was deleted.
func (l *ledger) gone(service string) { delete(l.owned, service) }
