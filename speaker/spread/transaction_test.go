package spread

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
)

// slowSocket is a kernel that needs some time for a transaction. It does all of it while the messages are sent.
type slowSocket struct {
	needs    time.Duration
	answers  bool
	deadline time.Time
}

func (s *slowSocket) SendMessages(m []netlink.Message) ([]netlink.Message, error) {
	time.Sleep(s.needs)
	return m, nil
}

func (s *slowSocket) SetDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *slowSocket) Receive() ([]netlink.Message, error) {
	if !s.answers {
		time.Sleep(time.Until(s.deadline))
	}
	if !time.Now().Before(s.deadline) {
		return nil, os.ErrDeadlineExceeded
	}
	return nil, nil
}

func TestSlowTransactionIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := exchangeOn(&slowSocket{needs: 2 * timeout, answers: true}, make([]netlink.Message, 1)); err != nil {
			t.Errorf("the kernel has done it, but the result is: %v", err)
		}
		if err := exchangeOn(&slowSocket{}, make([]netlink.Message, 1)); err == nil {
			t.Error("without an answer there is no error")
		}
	})
}
