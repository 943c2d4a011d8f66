// Package loglimit bounds the log lines that an unauthenticated neighbour can cause.
package loglimit

import (
	"sync"
	"time"
)

// Limiter allows a number of lines a minute, and counts the others.
type Limiter struct {
	perMinute int

	mu         sync.Mutex
	since      time.Time // when the present minute began
	used       int
	suppressed int
}

// New returns a Limiter that allows perMinute lines a minute.
func New(perMinute int) *Limiter { return &Limiter{perMinute: perMinute} }

// Allow reports whether to log a line now. suppressed is how many lines were not logged since
// the last one that was.
func (l *Limiter) Allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.since) >= time.Minute {
		l.since, l.used = now, 0
	}
	if l.used >= l.perMinute {
		l.suppressed++
		return 0, false
	}
	l.used++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}
