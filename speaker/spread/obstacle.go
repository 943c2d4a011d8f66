package spread

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// check looks whether this node can spread. It returns when to look again, nil for the usual time. A new
// obstacle counts if two looks find one: a look can fail for a moment, and an obstacle removes the rules.
func (s *Spreader) check() (again <-chan time.Time) {
	obstacle := s.look()
	before := s.Status().Obstacle
	if obstacle != "" && before == "" && !s.doubted {
		s.doubted = true
		return time.After(retryInterval)
	}
	s.doubted = false
	if obstacle == before {
		return nil
	}
	if obstacle == "" {
		s.log.Info("this node can spread the flows to an address")
	} else {
		s.log.Info("this node cannot spread the flows to an address", "reason", obstacle)
	}
	s.update(func(st *Status) { st.Obstacle = obstacle })
	return nil
}

// look returns why this node cannot spread now; "" if it can.
func (s *Spreader) look() string {
	if obstacle := datapath(); obstacle != "" || s.installed.Load() != nil {
		return obstacle
	}
	err := s.kernel.check()
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return fmt.Sprintf("%v (the kernel must be 5.7 or later, with nftables: nf_tables, nft_fwd_netdev, nft_dup_ipv4, nft_dup_ipv6, nft_hash, nft_ct)", err)
	}
	return describe(err)
}

// describe returns an error with its hint.
func describe(err error) string {
	if h := hint(err); h != "" {
		return fmt.Sprintf("%v (%s)", err, h)
	}
	return err.Error()
}

// hint says what an operator can do about an error of the kernel; "" if that is not known.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "give the speaker's container the capability NET_ADMIN as in manifests/speaker.yaml"
	case errors.Is(err, unix.EMSGSIZE):
		return "the rules do not fit into the buffer of a socket: raise the sysctl net.core.wmem_max, or spread fewer Services with externalTrafficPolicy Local"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return "the kernel has too little memory: spread fewer Services with externalTrafficPolicy Local, or give the node more memory"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "the kernel did not answer in time: the node is overloaded"
	}
	return ""
}

// cannotHaveTables reports whether an error says that this speaker has no right to write tables, or that the kernel
// has none. Then there is nothing to remove, or the rules of the speaker before end by themselves.
func cannotHaveTables(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}
