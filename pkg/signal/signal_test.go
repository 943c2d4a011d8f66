package signal_test

import (
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

func TestSignalMergesWakeUps(t *testing.T) {
	s := signal.New()
	for range 3 {
		s.Set() // would block here if the signal counted
	}
	<-s.C()
	select {
	case <-s.C():
		t.Error("three calls of Set before a receive woke the receiver twice")
	default:
	}
	s.Set()
	select {
	case <-s.C():
	default:
		t.Error("Set after a receive did not wake the receiver")
	}
}
