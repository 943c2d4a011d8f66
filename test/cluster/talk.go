package cluster

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// OnSegment is the name of the network namespace of the client on the segment.
const OnSegment = clientName

// Talks are TCP connections to an address that stay open. On each of them the client
// requests a page every so often.
type Talks struct {
	all  []*Talk
	stop chan struct{}
	done sync.WaitGroup
}

// Talk is one of Talks.
type Talk struct {
	// Carrier is the node whose kube-proxy has sent the connection to its pod.
	Carrier string

	conn    net.Conn
	read    *bufio.Reader
	cluster *Cluster

	mu      sync.Mutex
	answers []answer
	err     error
}

// answer is a page that has arrived.
type answer struct{ at, asked time.Time }

const (
	// talkTimeout is the time without an answer after which a connection counts as lost.
	talkTimeout = 15 * time.Second
	openTimeout = 3 * time.Second
	// firstTalkPort is the first of the ports of the client. The kernel gives other connections ports above these. If
	// a client uses a port again within two minutes, a node may still know an old connection of this port to the
	// address. Then the node calls the segments of the new one invalid.
	firstTalkPort = 25000
	talkPorts     = 7000
)

// StartTalks opens n connections to port 80 of vip, from the network namespace from, which is
// OnSegment or Outside. Stop closes them.
func (c *Cluster) StartTalks(ctx context.Context, from, vip string, n int, every time.Duration) (*Talks, error) {
	t := &Talks{stop: make(chan struct{})}
	for i := range n {
		talk, err := c.open(ctx, from, vip)
		if err != nil {
			t.Stop()
			return nil, fmt.Errorf("opening connection %d of %d to %s: %w", i+1, n, vip, err)
		}
		t.all = append(t.all, talk)
		t.done.Go(func() { talk.run(every, t.stop) })
	}
	return t, nil
}

func (c *Cluster) open(ctx context.Context, from, vip string) (*Talk, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client := &net.TCPAddr{Port: firstTalkPort + int(c.talks.Add(1)%talkPorts)}
	conn, err := dialWith(&net.Dialer{LocalAddr: client}, from)(ctx, "tcp", net.JoinHostPort(vip, "80"))
	if err != nil {
		return nil, fmt.Errorf("%w; the nodes know of it:\n%s", err, c.Connections(vip, client.Port))
	}
	t := &Talk{conn: conn, read: bufio.NewReader(conn), cluster: c}
	if t.ask(); t.err != nil {
		conn.Close()
		return nil, t.err
	}
	return t, nil
}

// Stop closes the connections.
func (t *Talks) Stop() {
	close(t.stop)
	for _, talk := range t.all {
		_ = talk.conn.Close() // ends a request that waits
	}
	t.done.Wait()
}

func (t *Talk) run(every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for t.Err() == nil {
		select {
		case <-tick.C:
			t.ask()
		case <-stop:
			return
		}
	}
}

// ask requests a page and waits for it.
func (t *Talk) ask() {
	asked := time.Now()
	carrier, err := t.request(asked)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.err = fmt.Errorf("carried by %s, lost at %s after %v: %w", t.Carrier, time.Now().UTC().Format("15:04:05.000"), time.Since(asked).Round(time.Millisecond), err)
	case t.Carrier != "" && carrier != t.Carrier:
		t.err = fmt.Errorf("carried by %s, then by %s", t.Carrier, carrier)
	default:
		t.Carrier = carrier
		t.answers = append(t.answers, answer{at: time.Now(), asked: asked})
	}
}

func (t *Talk) request(asked time.Time) (carrier string, err error) {
	if err := t.conn.SetDeadline(asked.Add(talkTimeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(t.conn, "GET / HTTP/1.1\r\nHost: talk\r\n\r\n"); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(t.read, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	page, err := ParsePage(string(text))
	return t.cluster.Carrier(page), err
}

// Err returns why the connection is lost, or nil.
func (t *Talk) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// answeredSince returns how many requests were answered that were sent after a time, and the
// longest time that an answer took which came after it.
func (t *Talk) answeredSince(since time.Time) (n int, stall time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.answers) - 1; i >= 0 && t.answers[i].at.After(since); i-- {
		if t.answers[i].asked.After(since) {
			n++
		}
		stall = max(stall, t.answers[i].at.Sub(t.answers[i].asked))
	}
	return n, stall
}

// Lost returns the connections that are lost.
func (t *Talks) Lost() (lost []*Talk) {
	for _, talk := range t.all {
		if talk.Err() != nil {
			lost = append(lost, talk)
		}
	}
	return lost
}

// GoOn reports whether each connection is lost, or has had n answers to requests that were sent
// after a time.
func (t *Talks) GoOn(since time.Time, n int) bool {
	for _, talk := range t.all {
		if answered, _ := talk.answeredSince(since); answered < n && talk.Err() == nil {
			return false
		}
	}
	return true
}

// LongestStall returns the longest time after since that an answer took on a connection that
// is not lost.
func (t *Talks) LongestStall(since time.Time) (longest time.Duration) {
	for _, talk := range t.all {
		if _, stall := talk.answeredSince(since); talk.Err() == nil {
			longest = max(longest, stall)
		}
	}
	return longest
}

// Stalled returns the connections that are not lost, and on which an answer took longer than limit after
// since.
func (t *Talks) Stalled(since time.Time, limit time.Duration) (stalled []*Talk) {
	for _, talk := range t.all {
		if _, stall := talk.answeredSince(since); talk.Err() == nil && stall > limit {
			stalled = append(stalled, talk)
		}
	}
	return stalled
}

// Known returns what the kernels of the nodes know of the connection.
func (t *Talk) Known() string {
	client := t.conn.LocalAddr().(*net.TCPAddr)
	return t.cluster.Connections(t.conn.RemoteAddr().(*net.TCPAddr).IP.String(), client.Port)
}

// String says what connection it is, and when which answer took longest.
func (t *Talk) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	longest := slices.MaxFunc(t.answers, func(a, b answer) int { return cmp.Compare(a.at.Sub(a.asked), b.at.Sub(b.asked)) })
	return fmt.Sprintf("%v, carried by %s; an answer took %v from %s on", t.conn.LocalAddr(), t.Carrier,
		longest.at.Sub(longest.asked).Round(time.Millisecond), longest.asked.UTC().Format("15:04:05.000"))
}

// Carriers returns how many connections each node carries, by the name of the node. Lost
// connections count, too.
func (t *Talks) Carriers() map[string]int {
	carriers := map[string]int{}
	for _, talk := range t.all {
		carriers[talk.Carrier]++
	}
	return carriers
}

// Carried opens n connections to an address, one after the other, and returns how many of them
// each node carried.
func (c *Cluster) Carried(ctx context.Context, from, vip, port string, n int) (map[string]int, error) {
	carriers := map[string]int{}
	for i := range n {
		text, err := c.fetchFrom(ctx, from, vip, port)
		if err != nil {
			return carriers, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		page, err := ParsePage(text)
		if err != nil {
			return carriers, err
		}
		carriers[c.Carrier(page)]++
	}
	return carriers, nil
}
