package trace

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// connectTime is how long a connection may take. A lost first packet is sent again after a second.
const connectTime = 2500 * time.Millisecond

// Outcome is what came of a connection.
type Outcome uint8

// The outcomes.
const (
	Open Outcome = iota + 1
	Refused
	NoAnswer
	// Unreachable means that the kernel or a router knows no way.
	Unreachable
)

// Connection is what came of a connection, and how long it took.
type Connection struct {
	Outcome Outcome
	// Error is nil for an Open connection.
	Error error
	Took  time.Duration
}

// connect opens a connection, and closes it at once without a byte.
func connect(ctx context.Context, to netip.AddrPort) Connection {
	began := time.Now()
	dialer := net.Dialer{Timeout: connectTime}
	c, err := dialer.DialContext(ctx, "tcp", to.String())
	took := time.Since(began)
	if err != nil {
		return Connection{Outcome: outcome(err), Error: err, Took: took}
	}
	_ = c.Close() // nothing was sent
	return Connection{Outcome: Open, Took: took}
}

func outcome(err error) Outcome {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
		return Refused
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return NoAnswer
	}
	return Unreachable
}
