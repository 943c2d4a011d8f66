package members

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// logWriter turns memberlist's lines into log records. A line begins with a date and
// a level in brackets.
type logWriter struct {
	log *slog.Logger

	mu     sync.Mutex
	warned time.Time // when the last warning about another key was logged
}

func (w *logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(bytes.TrimSpace(line)))
	if strings.Contains(text, "ecrypt") && level >= slog.LevelWarn {
		w.warnOfOtherKey(text)
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, "message from memberlist", "text", text)
	return len(line), nil
}

// warnOfOtherKey logs at most once a minute what memberlist logs for every packet.
func (w *logWriter) warnOfOtherKey(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.warned) > time.Minute {
		w.warned = time.Now()
		w.log.Warn("a speaker with another key has contacted this one", "hint", "all speakers must have the same Secret: restart the speakers that are older than the Secret", "memberlist", text)
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
