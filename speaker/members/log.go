package members

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// logWriter turns memberlist's lines, which begin with a date and a level in
// brackets, into records.
type logWriter struct {
	log *slog.Logger

	mu   sync.Mutex
	said time.Time // when another key was last told of
}

func (w *logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(bytes.TrimSpace(line)))
	if strings.Contains(text, "ecrypt") && level >= slog.LevelWarn {
		w.otherKey(text)
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, text)
	return len(line), nil
}

// otherKey says once a minute what memberlist says of every packet.
func (w *logWriter) otherKey(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.said) > time.Minute {
		w.said = time.Now()
		w.log.Warn("a speaker with another key has spoken to this one: all speakers must have the same Secret; restart those that are older than it", "memberlist", text)
	}
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
