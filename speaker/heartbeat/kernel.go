package heartbeat

import (
	"math"
	"time"
)

const (
	// falseAlarm is the probability of so many misses in a row that a kernel may be taken for
	// dead although only frames were lost.
	falseAlarm = 1e-6
	// maxMisses bounds how many probes without an answer that takes.
	maxMisses = 40
	// lossWeight is the weight of one probe in the average loss, after the first ones.
	lossWeight = 0.05
	// firstLoss is the loss that is assumed on a new path.
	firstLoss = 0.5
	// slowProbes is how much slower a kernel is probed that has been dead for slowProbesAfter.
	slowProbes      = 5
	slowProbesAfter = time.Second
	// distrust is how long a kernel is not watched after it did not answer while its speaker
	// went on: the network may limit ARP.
	distrust = 10 * time.Minute
)

// kernel is what the engine knows about the kernel of a member on one path. The kernel answers
// probes whatever its processes do. A kernel that has never answered proves nothing: it may be
// configured not to (arp_ignore), or the network may drop probes.
type kernel struct {
	watched  bool // it has answered, and it can be trusted
	dead     bool
	answered time.Time // the last answer
	asked    time.Time // the last probe
	open     int       // probes since the last answer
	loss     average   // the share of probes without an answer, lately
	// doubted is since when the speaker is heard although its kernel is dead; zero if that is not so.
	// distrustedUntil is until when the kernel is not watched.
	doubted, distrustedUntil time.Time
}

// due returns when the next probe is due.
func (k *kernel) due(t KernelTiming) time.Time {
	switch {
	case !k.watched && k.open > maxMisses: // it does not answer, or the network drops probes
		return k.asked.Add(slowProbesAfter)
	case k.dead && k.asked.Sub(k.answered) > slowProbesAfter:
		return k.asked.Add(slowProbes * t.Interval)
	case !k.watched || k.dead || k.open == 0:
		return k.asked.Add(t.Interval)
	}
	return k.asked.Add(t.Again)
}

// ask notes that a probe is sent.
func (k *kernel) ask(now time.Time) { k.asked, k.open = now, k.open+1 }

// answer notes an answer. link is the average of all kernels on the link.
func (k *kernel) answer(at time.Time, link *average) {
	if !k.watched {
		k.loss = average{share: firstLoss}
	}
	if k.open > 0 && !k.dead { // the probes to a dead kernel were not lost
		for range k.open - 1 {
			k.loss.count(1)
		}
		k.loss.count(0)
		if k.watched { // a run of lost probes counts once: one path must not outweigh the others
			link.count(float64(min(1, k.open-1)))
		}
	}
	k.watched, k.dead, k.open, k.doubted = true, false, 0, time.Time{}
	if at.After(k.answered) {
		k.answered = at
	}
}

// misses is the number of probes without an answer after which the kernel is dead. If a link begins
// to lose frames, the average of all its kernels shows it sooner than that of one of them.
func (k *kernel) misses(t KernelTiming, link *average) int {
	loss := max(k.loss.share, link.share)
	if loss <= 0 {
		return t.Misses
	}
	return min(maxMisses, max(t.Misses, int(math.Ceil(math.Log(falseAlarm)/math.Log(loss)))))
}

// judge decides whether the kernel is dead. link is the average of all kernels on the link.
func (k *kernel) judge(now time.Time, t KernelTiming, link *average) {
	if k.watched && !k.dead {
		k.dead = now.Sub(k.answered) >= t.Detection && k.open >= k.misses(t, link) && now.Sub(k.asked) >= t.Again
	}
}

// revive gives a dead kernel the time to answer.
func (k *kernel) revive(now time.Time) {
	if k.dead {
		k.dead, k.open, k.answered, k.asked = false, 0, now, time.Time{}
	}
}

// shift takes off the lateness of this process.
func (k *kernel) shift(d time.Duration) {
	if k.watched && !k.dead {
		k.answered, k.asked = k.answered.Add(d), k.asked.Add(d)
	}
}

// average is the share of probes that were lost lately.
type average struct {
	share   float64
	counted int // probes
}

// count takes a probe into the average.
func (a *average) count(lost float64) {
	a.counted++
	a.share += max(lossWeight, 1/float64(a.counted+1)) * (lost - a.share)
}
