package members

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// linesOfKind is how many lines of one kind of memberlist are logged in a minute. It
	// writes one for every bad packet.
	linesOfKind = 5
	// maxKinds bounds what a limiter remembers.
	maxKinds = 100
)

// limiter says which lines are logged, if there are many of one kind.
type limiter struct {
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

// newLimiter returns a limiter that allows so many lines of a kind in an interval.
func newLimiter(most int, interval time.Duration) *limiter {
	return &limiter{most: most, interval: interval, kinds: map[string]*lines{}}
}

// allow reports whether to log a line, and how many of its kind were not logged since
// the last one.
func (l *limiter) allow(kind string) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	k := l.kinds[kind]
	if k == nil {
		if len(l.kinds) >= maxKinds {
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

// logWriter turns memberlist's lines into log records. A line begins with a date and
// a level in brackets.
type logWriter struct {
	log *slog.Logger
	// rejectKey counts a message that was made with another key.
	rejectKey   func()
	lines, keys *limiter
}

func newLogWriter(log *slog.Logger, rejectKey func()) *logWriter {
	return &logWriter{log: log, rejectKey: rejectKey, lines: newLimiter(linesOfKind, time.Minute), keys: newLimiter(1, time.Minute)}
}

func (w *logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(bytes.TrimSpace(line)))
	if level >= slog.LevelWarn && strings.Contains(text, "ecrypt") {
		w.rejectKey()
		if more, ok := w.keys.allow(""); ok {
			w.log.Warn("a speaker with another key has contacted this one", "hint", "all speakers follow the Secret memberlist; if this goes on for more than a minute, check that the other speaker can watch the Secret, and that no other program sends to this port", "memberlist", text, "more", more)
		}
		return len(line), nil
	}
	if !w.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	if more, ok := w.lines.allow(kindOf(text)); ok {
		w.log.Log(context.Background(), level, "message from memberlist", "text", text, "more", more)
	}
	return len(line), nil
}

// kindOf returns the first words of a line, before the names and addresses of members.
func kindOf(text string) string {
	words := strings.Fields(strings.TrimPrefix(text, "memberlist: "))
	n := 2
	if len(words) > 1 && words[1] == "to" { // "Failed to send ack: …"
		n = 4
	}
	return strings.Join(words[:min(len(words), n)], " ")
}

func parseLine(line string) (slog.Level, string) {
	_, rest, ok := strings.Cut(line, "[")
	name, text, ok2 := strings.Cut(rest, "] ")
	if !ok || !ok2 {
		return slog.LevelInfo, line
	}
	level := map[string]slog.Level{"DEBUG": slog.LevelDebug, "INFO": slog.LevelDebug, "WARN": slog.LevelWarn, "ERR": slog.LevelError, "ERROR": slog.LevelError}[name]
	return level, text
}
