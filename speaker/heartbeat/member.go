package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// member is what the engine knows about a Member.
type member struct {
	name  string
	id    uint64
	lost  bool
	paths []*path
	// back is set while a lost member is heard. At backAt this has changed, or the member list had the
	// member again.
	back   bool
	backAt time.Time
	identity
	// gone is set when the member is dead or lost, until it is heard again. restarted is when
	// such a member was heard in a new epoch, goneEpoch.
	gone      bool
	restarted time.Time
	goneEpoch uint64
	// returns are the times of the last such returns, without those that followed at once.
	returns []time.Time
	// profile is what the member says of itself, and has said first in profileEpoch. knows is the version of this speaker's profile
	// that the member has. asked is when it was last asked for its profile.
	profile      Profile
	profileEpoch uint64
	knows        uint64
	asked        time.Time
	// said are the members that it suspects, by the link on which it said so.
	said map[string][]linkAccused
	// kernelDeadAt is when its kernel was last dead on all links; zero if it has shown a sign of life
	// since.
	kernelDeadAt time.Time
	// dead are the addresses at which the member is dead.
	dead []netip.Addr
}

// comeBack notes that the member lives again after it was gone.
func (m *member) comeBack(now time.Time) {
	m.gone, m.restarted, m.goneEpoch = false, now, m.epoch
	m.returns = slices.DeleteFunc(m.returns, func(at time.Time) bool { return now.Sub(at) > deathMemory })
	if n := len(m.returns); n == 0 || now.Sub(m.returns[n-1]) > sameReturn {
		m.returns = append(m.returns, now)
	}
}

// sameReturn is the time within which a member may begin several epochs after one death.
const sameReturn = 5 * time.Second

// counts reports whether the member is one of the ring.
func (m *member) counts() bool { return !m.lost || m.back }

// find returns the path between two addresses, or nil.
func (m *member) find(local, remote netip.Addr) *path {
	for _, path := range m.paths {
		if path.Local == local && path.Remote == remote {
			return path
		}
	}
	return nil
}

// at returns the path to one of the member's addresses over one of this node's links, or nil.
func (m *member) at(link string, remote netip.Addr) *path {
	for _, path := range m.paths {
		if path.Link == link && path.Remote == remote {
			return path
		}
	}
	return nil
}

// isMutual reports whether the member and this speaker hear each other on any path.
func (m *member) isMutual(now time.Time) bool {
	return slices.ContainsFunc(m.paths, func(p *path) bool { return p.mutual(now) })
}

// accuses reports whether the member says that this speaker is dead at an address. It says so on other
// paths than that of the address.
func (m *member) accuses(now time.Time, local netip.Addr) bool {
	return slices.ContainsFunc(m.paths, func(p *path) bool { return p.mutual(now) && slices.Contains(p.accused, local) })
}

// isMet reports whether the member was heard at some time, and is not dead at all of its addresses.
func (m *member) isMet() bool {
	return len(m.dead) < len(m.paths) && slices.ContainsFunc(m.paths, func(p *path) bool { return p.known })
}

// isExpected reports whether a message of the member, which is watched, may still come in time. Until
// then this speaker watches it, and says whether it misses it: its word may be needed.
func (m *member) isExpected(now time.Time) bool {
	return slices.ContainsFunc(m.paths, func(p *path) bool { return p.watched && p.established && !p.expired(now) })
}

// backMemory is how long a lost member counts as heard that this speaker does not watch. It asks
// lost members seldom if there are many, and those who watch the member tell of its death.
const backMemory = 30 * time.Second

// wasHeard reports whether a lost member that is not watched was heard a short time ago, and has
// not died since.
func (m *member) wasHeard(now time.Time) bool {
	return len(m.dead) < len(m.paths) && slices.ContainsFunc(m.paths, func(p *path) bool {
		return !p.watched && p.established && now.Sub(p.heardAt) < backMemory
	})
}

// setPaths replaces the paths. What is known about a path stays, although its link may have
// another name now.
func (m *member) setPaths(now time.Time, timing Timing, paths []Path) {
	before := m.paths
	m.paths = nil
	for _, want := range paths {
		p := &path{member: m}
		if i := slices.IndexFunc(before, func(b *path) bool { return b.Local == want.Local && b.Remote == want.Remote }); i >= 0 {
			p = before[i]
		}
		if p.MAC != want.MAC && p.kernel.watched {
			p.relaxedUntil = now.Add(2 * timing.SlowDetection())
			p.kernel = kernel{}
		}
		p.Path = want
		m.paths = append(m.paths, p)
	}
}

// watch says whether the member is watched. A fenced speaker is cut off itself: it does not say that its
// list has lost the member.
func (m *member) watch(now time.Time, timing Timing, watched bool, f fencing) {
	for _, p := range m.paths {
		if watched && !p.watched {
			// The member begins to send now. It was not expected to send before.
			p.established = p.established && !p.expired(now)
			p.kernel = kernel{distrustedUntil: p.kernel.distrustedUntil}
			p.relaxedUntil = now.Add(2 * timing.SlowDetection())
			p.expect(now, timing)
			p.nextAt = now
		}
		if !watched && p.watched && m.lost && p.known && f.reason == "" && !f.links[p.Link] {
			p.lostUntil = now.Add(mourning)
		}
		p.watched = watched
	}
}
