package members

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

// logWriter turns memberlist's lines, which begin with a date and a level in
// brackets, into records.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(bytes.TrimSpace(line)))
	w.log.Log(context.Background(), level, text)
	return len(line), nil
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
