package trace

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestKernelNamesTheInterfaceWithTheAddress(t *testing.T) {
	local, _, err := kernel(netip.MustParseAddr("127.0.0.1"))
	if err != nil || !slices.Contains(local, "lo") {
		t.Errorf("%v, %v", local, err)
	}
	if local, _, err := kernel(netip.MustParseAddr("192.0.2.77")); err != nil || len(local) > 0 {
		t.Errorf("%v, %v", local, err)
	}
}

func TestOutcomeSaysWhetherAHostHasAnswered(t *testing.T) {
	for err, want := range map[error]Outcome{
		&net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}: Refused,
		&net.OpError{Err: os.ErrDeadlineExceeded}:                              NoAnswer,
		&net.OpError{Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}:    NoAnswer,
		&net.OpError{Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}: Unreachable,
		errors.New("something else"):                                           Unreachable,
	} {
		if got := outcome(err); got != want {
			t.Errorf("%v: %d instead of %d", err, got, want)
		}
	}
}
