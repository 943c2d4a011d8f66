// Package loglimit bounds the log lines, Events and other work that an unauthenticated
// neighbour can cause.
package loglimit

import (
	"sync"
	"time"
)

// MaxKinds bounds what a Limiter remembers. All further kinds count as one.
const MaxKinds = 100

// Limiter allows a number of lines of each kind in an interval, and counts the others.
type Limiter struct {
	most     int
	interval time.Duration

	mu    sync.Mutex
	kinds map[string]*lines
}

// lines are those of one kind.
type lines struct {
	since  time.Time // when the present interval began
	logged int       // in the present interval
	more   int       // were not logged since the last one that was
}

// New returns a Limiter that allows so many lines of a kind in an interval.
func New(most int, interval time.Duration) *Limiter {
	return &Limiter{most: most, interval: interval, kinds: map[string]*lines{}}
}

// Allow reports whether to log a line now. more is how many lines of its kind were not logged
// since the last one that was.
func (l *Limiter) Allow(kind string) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	k := l.kinds[kind]
	if k == nil {
		if len(l.kinds) >= MaxKinds {
			kind = ""
		}
		if k = l.kinds[kind]; k == nil {
			k = &lines{}
			l.kinds[kind] = k
		}
	}
	if now.Sub(k.since) >= l.interval {
		k.since, k.logged = now, 0
	}
	if k.logged == l.most {
		k.more++
		return 0, false
	}
	more = k.more
	k.logged, k.more = k.logged+1, 0
	return more, true
}
