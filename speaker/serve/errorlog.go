package serve

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// linesPerMinute is how many errors of connections are logged. A stranger can cause
	// thousands.
	linesPerMinute = 3
	// maxErrorLength is in bytes.
	maxErrorLength = 300
)

// errorLog logs what net/http says about connections, at most linesPerMinute lines of each
// kind.
type errorLog struct {
	server   string
	log      *slog.Logger
	rejected func(reason string)

	connections, panics sparse
}

// Write gets one message of net/http.
func (e *errorLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if strings.HasPrefix(text, "http: panic serving") {
		e.write(slog.LevelError, "serving a request has panicked", text, &e.panics)
		return len(line), nil
	}
	if strings.HasPrefix(text, "http: TLS handshake error") {
		e.rejected(BadHandshake)
	}
	e.write(slog.LevelWarn, "a connection failed", text[:min(len(text), maxErrorLength)], &e.connections)
	return len(line), nil
}

func (e *errorLog) write(level slog.Level, message, text string, limit *sparse) {
	if skipped, ok := limit.allow(time.Now()); ok {
		e.log.Log(context.Background(), level, message, "server", e.server, "error", text, "not-logged", skipped)
	}
}

// sparse allows linesPerMinute lines a minute.
type sparse struct {
	mu             sync.Mutex
	minute         time.Time // when it began
	lines, skipped int
}

// allow reports whether a line can be logged, and how many were skipped before it.
func (s *sparse) allow(now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.minute) >= time.Minute {
		s.minute, s.lines = now, 0
	}
	if s.lines == linesPerMinute {
		s.skipped++
		return 0, false
	}
	s.lines++
	skipped, s.skipped = s.skipped, 0
	return skipped, true
}
