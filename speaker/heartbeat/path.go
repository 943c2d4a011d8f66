package heartbeat

import (
	"net/netip"
	"time"
)

// Path is how heartbeats go between this speaker and a member: over one link that
// both share, or if they share none, over any route.
type Path struct {
	// Link is the name of this node's interface; "" if the two share no link.
	Link string
	// Local and Remote are the addresses of this node and of the member.
	Local, Remote netip.Addr
	// MAC is the member's address on the link, to which probes of its kernel are sent; zero if
	// there are none.
	MAC [6]byte
}

// Member is another speaker.
type Member struct {
	Name string
	// Lost is set for a member that was declared dead and has not come back to the
	// member list. This speaker only listens for its return.
	Lost  bool
	Paths []Path
}

// path is what the engine knows about a Path.
type path struct {
	Path
	member *member
	// watched is set for the neighbours on the ring.
	watched bool
	kernel  kernel
	// established is set when a message has come that repeats our epoch, at establishedAt: the
	// member has received a message of ours. Before that a missing message proves nothing,
	// because a firewall may drop all.
	established   bool
	establishedAt time.Time
	// known is set once the path was established.
	known bool
	// noticedAt is when a message came that is newer than all before, but does not repeat our epoch:
	// the member goes on and may not hear us. noticedSeq and noticedFlags are of that message.
	noticedAt    time.Time
	noticedSeq   uint64
	noticedEpoch uint64
	noticedFlags flags
	// telling is set while the member says that this speaker is dead, and can know it.
	telling bool
	// accusing is the same for a member that does not hear this speaker.
	accusing bool
	// heardAt is when the last message came. The path expires at deadline, unless another
	// message comes before.
	heardAt, deadline time.Time
	// relaxedUntil is until when the member may send slowly, because it knows that its kernel was
	// watched a short time ago.
	relaxedUntil time.Time
	// nextAt is when to send the next heartbeat, probeAt when to ask because one is late.
	nextAt, probeAt time.Time
	// closed is set when the member's kernel has closed the process's connection, at closedAt.
	closed   bool
	closedAt time.Time
	// flags are those of the last message. accused are this speaker's addresses on other paths at which
	// it says that this speaker is dead.
	flags   flags
	accused []netip.Addr
	// toldAt is when the member was last told out of turn that it is dead.
	toldAt time.Time
	// challenged is when a message that does not prove to be recent was last answered.
	challenged time.Time
	verdict
}

// verdict is what this speaker believes of a member at one of its addresses.
type verdict struct {
	// dead is set if enough speakers miss the member. It was then in deadEpoch.
	dead      bool
	deadEpoch uint64
	// kernelDead is set while enough of them miss its kernel.
	kernelDead bool
	// missedAt is when enough speakers missed it for the last time.
	missedAt time.Time
	// denied is set while another speaker says that it reaches the member.
	denied bool
	// lostUntil is until when this speaker says that its member list has lost the member, which it
	// watched before.
	lostUntil time.Time
}

// isSure reports whether those who do not watch the member must believe the verdict. They must not if
// this speaker is the last one that misses the member, and another one reaches it.
func (v verdict) isSure(now time.Time, t Timing) bool {
	return v.dead && (!v.denied || now.Sub(v.missedAt) < t.Interval*3/2)
}

// expired reports whether no message has come in time.
func (p *path) expired(now time.Time) bool { return p.established && !now.Before(p.deadline) }

// interval is the time between two messages that the member is expected to send.
func (p *path) interval(now time.Time, t Timing) (interval time.Duration, misses int) {
	if p.kernel.watched || now.Before(p.relaxedUntil) {
		return t.SlowInterval, t.SlowMisses
	}
	return t.Interval, t.Misses
}

// refresh is called for each message: the path expires later.
func (p *path) refresh(now time.Time, t Timing) {
	p.heardAt = now
	p.expect(now, t)
}

// expect gives the member the time for its next message.
func (p *path) expect(now time.Time, t Timing) {
	interval, misses := p.interval(now, t)
	p.deadline, p.probeAt = now.Add(interval*time.Duration(misses)), now.Add(interval*3/2)
}

// introduction is the time after the first message in which the member may not have said yet
// that it hears this speaker.
const introduction = 300 * time.Millisecond

// mutual reports whether both processes hear each other now.
func (p *path) mutual(now time.Time) bool {
	return p.established && now.Before(p.deadline) && (p.flags&flagHearing != 0 || now.Sub(p.establishedAt) < introduction)
}

// alive reports whether this speaker reaches the member: the processes hear each other, and the
// member's kernel answers if it is watched. A kernel whose process has ended, or was never heard,
// is enough: a firewall may drop all heartbeats, or the speaker may have another version. A kernel
// whose process has become silent is not.
func (p *path) alive(now time.Time) bool {
	if p.kernel.watched && p.kernel.dead {
		return false
	}
	return p.mutual(now) || p.kernel.watched && (p.closed || !p.known)
}

// isSilent reports whether the processes do not hear each other any more, although the member's kernel
// answers, and it is not known to be dead.
func (p *path) isSilent(now time.Time) bool {
	return p.known && !p.closed && !p.dead && p.kernel.watched && !p.kernel.dead && !p.mutual(now)
}

// isFiltered reports whether a firewall must be dropping the heartbeats on this path alone: the
// member's kernel answers on it, and its process and this one hear each other on another path.
func (p *path) isFiltered(now time.Time) bool {
	return p.kernel.watched && !p.kernel.dead && !p.mutual(now) && p.member.isMutual(now)
}

// isActive reports whether the member was heard a short time ago and goes on, although this
// speaker does not reach it.
func (p *path) isActive(now time.Time, t Timing) bool {
	if p.alive(now) {
		return false
	}
	if now.Sub(p.noticedAt) < t.SlowDetection() && p.noticedFlags.goesOn() {
		return true
	}
	if !p.established || !p.flags.goesOn() || now.Sub(p.heardAt) >= t.SlowDetection() {
		return false
	}
	return p.kernel.watched && p.heardAt.Sub(p.kernel.answered) > t.Kernel.Detection || p.flags&flagHearing == 0
}

// notice notes a message of the member's present life that does not repeat our epoch, unless it
// is a recording of one that came before.
func (p *path) notice(now time.Time, msg message) {
	last := p.member.seqs[[2]netip.Addr{msg.to, msg.from}]
	if p.noticedEpoch == msg.epoch {
		last = max(last, p.noticedSeq)
	}
	if msg.epoch == p.member.epoch && msg.seq > last {
		p.noticedAt, p.noticedEpoch, p.noticedSeq, p.noticedFlags = now, msg.epoch, msg.seq, msg.flags
	}
}

// saysFenced reports whether the member says that it is fenced on the link, or that it was frozen and
// does not know yet that it was dead.
func (p *path) saysFenced(now time.Time) bool {
	isUnaware := p.flags.isAsking() && p.member.goneEpoch == p.member.epoch
	if !p.established || p.flags&flagFenced == 0 && !isUnaware {
		return false
	}
	if p.watched {
		return !p.expired(now)
	}
	return now.Sub(p.heardAt) < suspicionLife
}

// isSound reports whether the member answers right now, so that its own link works.
func (p *path) isSound(now time.Time, t Timing) bool { return p.alive(now) && p.kernelIsSound(now, t) }

// kernelIsSound reports whether the member's kernel answers right now, if it is watched.
func (p *path) kernelIsSound(now time.Time, t Timing) bool {
	return !p.kernel.watched || p.kernel.open <= 1 || now.Sub(p.kernel.answered) < t.Kernel.Detection/2+t.Kernel.Again
}

// updateTelling notes whether the member says that this speaker is dead. It must be sound when it
// begins to: a deaf member takes all others for dead. If a firewall drops heartbeats on this path, the
// member says so on another one. After a freeze, what the member knows is old.
func (p *path) updateTelling(now time.Time, t Timing) {
	switch {
	case !p.watched:
		p.telling = false
	case p.isFiltered(now):
		p.telling = p.member.accuses(now, p.Local) && (p.kernelIsSound(now, t) || p.telling)
	default:
		p.telling = p.flags&flagDead != 0 && p.mutual(now) && (p.isSound(now, t) && !p.flags.isAsking() || p.telling && p.alive(now))
	}
	p.accusing = p.isAccusing(now, t)
}

// isAccusing reports whether the member, which does not hear this speaker, says that this speaker is
// dead: a firewall drops heartbeats in one direction. Its word counts only while no member hears this
// speaker. A member that is deaf is fenced, and says so.
func (p *path) isAccusing(now time.Time, t Timing) bool {
	if p.closed || p.dead || !p.established || p.expired(now) || p.mutual(now) || p.kernel.watched && p.kernel.dead {
		return false
	}
	return p.flags&(flagDead|flagFenced) == flagDead && (p.kernelIsSound(now, t) && !p.flags.isAsking() || p.accusing)
}

// proves reports whether silence on the path proves something.
func (p *path) proves() bool { return p.kernel.watched || p.established }

// lastSign is the last time at which the path has shown that it works.
func (p *path) lastSign() time.Time {
	if p.kernel.watched && p.kernel.answered.After(p.heardAt) {
		return p.kernel.answered
	}
	return p.heardAt
}

// stopWatchingKernel is called when the kernel says nothing, but the speaker goes on.
func (p *path) stopWatchingKernel(now time.Time, t Timing) {
	p.kernel = kernel{distrustedUntil: now.Add(distrust)}
	p.relaxedUntil = now.Add(2 * t.SlowDetection()) // until the member sends more often again
}

// identity is what makes messages of a member recent. The engine keeps it when the member
// goes: otherwise old messages would count when it returns.
type identity struct {
	// epoch is the last epoch that the member has proven to be recent; 0 for none.
	epoch uint64
	// seqs are the last sequence numbers that were accepted in this epoch, by the addresses of
	// the paths.
	seqs map[[2]netip.Addr]uint64
}

// maxSeqStep is more than a speaker sends in its life. A sequence number that is so much lower
// than the last one shows that the last one was forged, by another holder of the key.
const maxSeqStep = 1 << 40

// accept notes a message that repeats this speaker's epoch, and reports whether it is new.
func (i *identity) accept(msg message) (isNew, wedged bool) {
	on := [2]netip.Addr{msg.to, msg.from}
	switch {
	case msg.epoch > i.epoch || i.seqs == nil:
		i.epoch, i.seqs = msg.epoch, map[[2]netip.Addr]uint64{}
	case msg.epoch < i.epoch:
		return false, false
	case msg.seq <= i.seqs[on]:
		return false, i.seqs[on]-msg.seq > maxSeqStep
	}
	i.seqs[on] = msg.seq
	return true, false
}
