package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Asker is somebody on the segment who asks by ARP for an address, again and
// again, and keeps what is answered.
type Asker struct {
	conn  *packet.Conn
	vip   netip.Addr
	every time.Duration
	stop  chan struct{}
	done  sync.WaitGroup

	mu        sync.Mutex
	questions []Question
}

// Question is one question and the MAC addresses of those who answered it.
type Question struct {
	At   time.Time
	MACs []string
}

// Ask begins to ask as the client on the segment.
func (c *Cluster) Ask(vip string, every time.Duration) (*Asker, error) {
	a := &Asker{vip: netip.MustParseAddr(vip), every: every, stop: make(chan struct{})}
	err := inNetns(clientName, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			a.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the client's ARP socket: %w", err)
	}
	a.done.Go(a.read)
	a.done.Go(a.ask)
	return a, nil
}

// Stop ends the asking.
func (a *Asker) Stop() {
	close(a.stop)
	_ = a.conn.Close() // ends the reading
	a.done.Wait()
}

func (a *Asker) ask() {
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	for {
		a.mu.Lock()
		a.questions = append(a.questions, Question{At: time.Now()})
		sender := numbered(len(a.questions) - 1)
		a.mu.Unlock()
		_ = ask(a.conn, sender, a.vip, nil) // what is not asked is not answered, which is seen
		select {
		case <-tick.C:
		case <-a.stop:
			return
		}
	}
}

func (a *Asker) read() {
	frame := make([]byte, 1500)
	for {
		n, _, err := a.conn.ReadFrom(frame)
		if err != nil {
			return
		}
		var p arp.Packet
		if p.UnmarshalBinary(frame[14:n]) != nil || p.Operation != arp.OperationReply || p.SenderIP != a.vip || !askers.Contains(p.TargetIP) {
			continue
		}
		to := p.TargetIP.As4()
		number := int(to[1]&1)<<16 | int(to[2])<<8 | int(to[3])
		mac := p.SenderHardwareAddr.String()
		a.mu.Lock()
		// The numbers begin again after a while; the last question of that number counts.
		for number+numbers < len(a.questions) {
			number += numbers
		}
		if number < len(a.questions) && !slices.Contains(a.questions[number].MACs, mac) {
			a.questions[number].MACs = append(a.questions[number].MACs, mac)
		}
		a.mu.Unlock()
	}
}

// askers are the addresses in whose names questions are asked, one after the
// other, so that each answer says which question it is for (RFC 2544: nobody has
// them).
var askers = netip.MustParsePrefix("198.18.0.0/15")

const numbers = 1 << 17

// numbered returns the address of the n-th question.
func numbered(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(18 + n>>16&1), byte(n >> 8), byte(n)})
}

// answerWithin is how long an answer may take on a busy machine.
const answerWithin = 200 * time.Millisecond

// Since returns the questions asked at or after a time, but for the last ones, which
// may not have been answered yet.
func (a *Asker) Since(t time.Time) []Question {
	a.mu.Lock()
	defer a.mu.Unlock()
	var since []Question
	for _, q := range a.questions {
		if !q.At.Before(t) && (time.Since(q.At) > answerWithin || len(q.MACs) > 0) {
			since = append(since, q)
		}
	}
	return since
}

// TwoAnswered returns for how long since a time two answered: from the first to
// the last question that had two answers.
func (a *Asker) TwoAnswered(t time.Time) time.Duration {
	var first, last time.Time
	for _, q := range a.Since(t) {
		if len(q.MACs) > 1 {
			if first.IsZero() {
				first = q.At
			}
			last = q.At
		}
	}
	if first.IsZero() {
		return 0
	}
	return last.Sub(first) + a.every
}

// Unanswered returns how many questions since a time nobody has answered.
func (a *Asker) Unanswered(t time.Time) (n int) {
	for _, q := range a.Since(t) {
		if len(q.MACs) == 0 {
			n++
		}
	}
	return n
}

// Moves returns when, since a time, another node began to answer: the times of the
// first questions that it has answered.
func (a *Asker) Moves(t time.Time) (moves []time.Time) {
	var before []string
	for _, q := range a.Since(t) {
		for _, mac := range q.MACs {
			if len(before) > 0 && !slices.Contains(before, mac) {
				moves = append(moves, q.At)
			}
		}
		if len(q.MACs) > 0 {
			before = q.MACs
		}
	}
	return moves
}
