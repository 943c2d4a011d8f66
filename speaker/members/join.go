package members

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Two members that contact each other exchange their whole lists. So no speaker contacts all
// others, which would cost the cube of their number when all do it at the same time, for example
// after a switch has restarted. A few are enough, because they tell all others by gossip.

const (
	// searchInterval is how often missing members are looked for, so that the two
	// sides of a partition find each other when it heals.
	searchInterval = 3 * time.Second
	// joinPatience is how long the first join may take. After that the speaker goes on
	// alone.
	joinPatience = 5 * time.Second
	// rejoinPatience is how long a rejoin waits for the first member that answers.
	// Connections to the other members are still tried after that.
	rejoinPatience = 500 * time.Millisecond
	// refuteTime is the time in which a member can hear of its death, after some members were
	// reached, and refute it: some rounds of gossip.
	refuteTime = 300 * time.Millisecond
	// maxDials bounds the connections that are tried at the same time.
	maxDials = 16
	// enoughAnswers is how many members must answer before a join contacts no more.
	enoughAnswers = 4
)

// keepJoined joins the other members and then looks for missing ones, until ctx
// ends.
func (m *Members) keepJoined(ctx context.Context, dials *sync.WaitGroup) {
	contacts, _ := m.inTurn(m.missing, false)
	select {
	case <-m.join(ctx, dials, contacts):
	case <-time.After(joinPatience):
		m.options.Log.Warn("no other speaker could be reached, going on alone")
	case <-ctx.Done():
		return
	}
	m.options.Log.Info("first join ended", "alive", m.alive())
	close(m.joined)
	tick := time.NewTicker(searchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.findMissing(ctx, dials)
			m.loseUnheard()
			m.reportMissing()
		case <-m.search.C():
			m.findMissing(ctx, dials)
		case <-m.rejoin.C():
			m.rejoinSome(ctx, dials)
		case <-ctx.Done():
			return
		}
	}
}

// findMissing looks for a few of the missing members, and for those that were asked for.
func (m *Members) findMissing(ctx context.Context, dials *sync.WaitGroup) {
	contacts, wanted := m.inTurn(m.missing, false)
	contacts = contacts[:searched(len(contacts), wanted, len(m.alive()))]
	if m.waitOrRejoin(ctx, m.join(ctx, dials, contacts), rejoinPatience) {
		m.rejoinSome(ctx, dials)
	}
}

// waitOrRejoin returns when a search has ended, after d, or when ctx ends. If a rejoin is asked
// for, it returns true at once: this speaker announces nothing until the rejoin has ended.
func (m *Members) waitOrRejoin(ctx context.Context, done <-chan struct{}, d time.Duration) (rejoin bool) {
	select {
	case <-done:
	case <-time.After(d):
	case <-m.rejoin.C():
		return true
	case <-ctx.Done():
	}
	return false
}

// rejoinSome contacts some of all members, first those that were asked for. They tell the members
// that this one suspects or has lost, and those refute it.
func (m *Members) rejoinSome(ctx context.Context, dials *sync.WaitGroup) {
	if m.leaving.Load() {
		return
	}
	m.mu.Lock()
	done := m.rejoined
	m.rejoined = nil
	m.mu.Unlock()
	contacts, _ := m.inTurn(m.otherAddresses, true)
	contacts = contacts[:min(maxRejoin, len(contacts))]
	wait(ctx, m.join(ctx, dials, contacts), rejoinPatience)
	wait(ctx, nil, refuteTime)
	if done != nil {
		close(done)
	}
	m.options.Changed()
}

// wait returns when done is closed, after d, or when ctx ends.
func wait(ctx context.Context, done <-chan struct{}, d time.Duration) {
	select {
	case <-done:
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// otherAddresses returns where all other members should be found, by name.
func (m *Members) otherAddresses() map[string]netip.Addr {
	addrs := m.options.Addresses()
	delete(addrs, m.options.Name)
	return addrs
}

// missing returns the addresses of the nodes without a living member.
func (m *Members) missing() map[string]netip.Addr {
	addrs, alive := m.otherAddresses(), m.alive()
	maps.DeleteFunc(addrs, func(name string, _ netip.Addr) bool { return slices.Contains(alive, name) })
	return addrs
}

// join contacts the speakers, one after the other, until some have answered. The channel is
// closed when the first one has answered, because it knows all others, or when all attempts
// have failed.
func (m *Members) join(ctx context.Context, dials *sync.WaitGroup, contacts []contact) <-chan struct{} {
	return contactSome(ctx, dials, contacts, func(c contact) error {
		m.hadTurn(c.node)
		at := netip.AddrPortFrom(c.addr, m.options.Addr.Port()).String()
		_, err := m.list.Load().Join([]string{c.node + "/" + at})
		if err != nil {
			m.options.Log.Debug("speaker not reached", "node", c.node, "address", at, "error", err)
			m.noteAbsence(c.node, at, err)
		}
		return err
	})
}

// contactSome calls reach for one contact after the other, maxDials at a time, until
// enoughAnswers calls have returned nil. The channel is closed after the first such call, or when
// all have returned.
func contactSome(ctx context.Context, dials *sync.WaitGroup, contacts []contact, reach func(contact) error) <-chan struct{} {
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	slots := make(chan struct{}, maxDials)
	var answers atomic.Int32
	dials.Go(func() {
		defer finish()
		var round sync.WaitGroup
		defer round.Wait()
		for _, c := range contacts {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if answers.Load() >= enoughAnswers {
				return
			}
			round.Go(func() {
				defer func() { <-slots }()
				if reach(c) == nil {
					answers.Add(1)
					finish()
				}
			})
		}
	})
	return done
}
