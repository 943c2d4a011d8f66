package members

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
)

// linesOfKind is how many lines of one kind of memberlist are logged in a minute. It writes
// one for every bad packet.
const linesOfKind = 5

// logWriter turns memberlist's lines into log records. A line begins with a date and
// a level in brackets.
type logWriter struct {
	log *slog.Logger
	// rejectKey counts a message that was made with another key. from is the zero Addr if the
	// line does not name the sender.
	rejectKey   func(from netip.Addr)
	lines, keys *loglimit.Limiter
}

func newLogWriter(log *slog.Logger, rejectKey func(from netip.Addr)) *logWriter {
	return &logWriter{log: log, rejectKey: rejectKey, lines: loglimit.New(linesOfKind, time.Minute), keys: loglimit.New(1, time.Minute)}
}

func (w *logWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(bytes.TrimSpace(line)))
	if level >= slog.LevelWarn && strings.Contains(text, "ecrypt") {
		w.rejectKey(senderOf(text))
		if more, ok := w.keys.Allow(""); ok {
			w.log.Warn("a speaker with another key has contacted this one", "hint", "all speakers follow the Secret memberlist; if this goes on for more than a minute, check that the other speaker can watch the Secret, and that no other program sends to this port", "memberlist", text, "more", more)
		}
		return len(line), nil
	}
	if !w.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	if more, ok := w.lines.Allow(kindOf(text)); ok {
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

// senderOf returns the address at the end of a line, which memberlist writes as from=ADDRESS:PORT; the
// zero Addr if there is none.
func senderOf(text string) netip.Addr {
	i := strings.LastIndex(text, "from=")
	if i < 0 {
		return netip.Addr{}
	}
	sender, _, _ := strings.Cut(text[i+len("from="):], " ")
	from, _ := netip.ParseAddrPort(sender) // "<unknown address>" is none
	return from.Addr()
}
