package members

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

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
	// refuteTime is the time in which a member can refute its death after it was reached:
	// some rounds of gossip.
	refuteTime = 300 * time.Millisecond
	// maxDials bounds the connections that are tried at the same time.
	maxDials = 16
)

// keepJoined joins the other members and then looks for missing ones, until ctx
// ends.
func (m *Members) keepJoined(ctx context.Context, dials *sync.WaitGroup) {
	select {
	case <-m.join(ctx, dials, m.missing()):
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
			m.rejoinAll(ctx, dials)
		case <-ctx.Done():
			return
		}
	}
}

// findMissing looks for the missing members.
func (m *Members) findMissing(ctx context.Context, dials *sync.WaitGroup) {
	if m.waitOrRejoin(ctx, m.join(ctx, dials, m.missing()), rejoinPatience) {
		m.rejoinAll(ctx, dials)
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

// rejoinAll contacts all members. Members that are only suspected so far are among
// them: once contacted, they refute it.
func (m *Members) rejoinAll(ctx context.Context, dials *sync.WaitGroup) {
	if m.leaving.Load() {
		return
	}
	m.mu.Lock()
	done := m.rejoined
	m.rejoined = nil
	m.mu.Unlock()
	wait(ctx, m.join(ctx, dials, m.otherAddresses()), rejoinPatience)
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

// join contacts the speakers at the addresses. The channel is closed when the first
// one has answered, because it knows all others, or when all attempts have failed.
func (m *Members) join(ctx context.Context, dials *sync.WaitGroup, addrs map[string]netip.Addr) <-chan struct{} {
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	slots := make(chan struct{}, maxDials)
	dials.Go(func() {
		defer finish()
		var round sync.WaitGroup
		defer round.Wait()
		for name, addr := range addrs {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			round.Go(func() {
				defer func() { <-slots }()
				at := netip.AddrPortFrom(addr, m.options.Addr.Port()).String()
				if _, err := m.list.Load().Join([]string{name + "/" + at}); err != nil {
					m.options.Log.Debug("speaker not reached", "node", name, "address", at, "error", err)
					m.noteAbsence(name, at, err)
					return
				}
				finish()
			})
		}
	})
	return done
}
