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

// Asker sends ARP requests for an address as the client on the segment, one after the
// other, and keeps the answers.
type Asker struct {
	conn  *packet.Conn
	vip   netip.Addr
	every time.Duration
	stop  chan struct{}
	done  sync.WaitGroup

	mu        sync.Mutex
	questions []Question
}

// Question is one ARP request, and the MAC addresses that answered it.
type Question struct {
	At   time.Time
	MACs []string
	// Times are the times of the answers, one for each MAC address: the first answer.
	Times []time.Time
}

// Ask starts an Asker that sends an ARP request for vip every so often.
func (c *Cluster) Ask(vip string, every time.Duration) (*Asker, error) {
	return askOn(func(open func() error) error { return inNetns(clientName, open) }, "eth0", vip, every)
}

// askOn starts an Asker on an interface. in runs a function in the network namespace of the
// interface.
func askOn(in func(func() error) error, name, vip string, every time.Duration) (*Asker, error) {
	a := &Asker{vip: netip.MustParseAddr(vip), every: every, stop: make(chan struct{})}
	err := in(func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			a.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the asker's ARP socket: %w", err)
	}
	a.done.Go(a.read)
	a.done.Go(a.ask)
	return a, nil
}

// Stop stops the Asker.
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
		_ = ask(a.conn, sender, a.vip, nil) // a request that was not sent counts as unanswered
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
		mac, now := p.SenderHardwareAddr.String(), time.Now()
		a.mu.Lock()
		// The numbers begin again at 0 after some time. The last question with the number counts.
		for number+numbers < len(a.questions) {
			number += numbers
		}
		if number < len(a.questions) && !slices.Contains(a.questions[number].MACs, mac) {
			q := &a.questions[number]
			q.MACs, q.Times = append(q.MACs, mac), append(q.Times, now)
		}
		a.mu.Unlock()
	}
}

// askers are the sender addresses of the questions. Each question has an address of its
// own, so an answer shows which question it answers. No host has these addresses: RFC 2544
// reserves them for benchmarks.
var askers = netip.MustParsePrefix("198.18.0.0/15")

const numbers = 1 << 17

// numbered returns the sender address of the n-th question.
func numbered(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(18 + n>>16&1), byte(n >> 8), byte(n)})
}

// answerWithin is the time that an answer can take on a busy machine.
const answerWithin = 200 * time.Millisecond

// Since returns the questions that were asked at t or later. It leaves out the newest
// unanswered questions, because their answers can still arrive.
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

// Complete returns the questions from the n-th on that were asked at least wait ago, so
// that all of their answers have arrived.
func (a *Asker) Complete(n int, wait time.Duration) []Question {
	a.mu.Lock()
	defer a.mu.Unlock()
	end := n
	for end < len(a.questions) && time.Since(a.questions[end].At) >= wait {
		end++
	}
	return slices.Clone(a.questions[n:end])
}

// TwoAnswered returns for how long after t two nodes answered: the time from the first to
// the last question that was answered by more than one MAC address.
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

// Unanswered returns how many questions after t have no answer.
func (a *Asker) Unanswered(t time.Time) (n int) {
	for _, q := range a.Since(t) {
		if len(q.MACs) == 0 {
			n++
		}
	}
	return n
}

// LongestSilence returns the longest time after t in which no question was answered.
func (a *Asker) LongestSilence(t time.Time) (longest time.Duration) {
	last := t
	for _, q := range a.Since(t) {
		if len(q.MACs) > 0 {
			last = q.At
		}
		longest = max(longest, q.At.Sub(last))
	}
	return longest
}

// Moves returns the times after t at which another node began to answer. Such a time is
// the time of the first question that the node answered.
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
