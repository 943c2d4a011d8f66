package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// The texts of GoBGP are no interface of it. These tests fail if an upgrade changes those
// that this package reads.

func TestCodesAreReadFromEveryTextOfGoBGP(t *testing.T) {
	for code := range uint8(20) {
		for subcode := range uint8(20) {
			text := "notification-received " + packet.NewNotificationErrorCode(code, subcode).String()
			gotCode, gotSubcode, ok := codeOf(text)
			if !ok || gotCode != int64(code) || gotSubcode != int64(subcode) {
				t.Errorf("%q was read as %d, %d, %v", text, gotCode, gotSubcode, ok)
			}
		}
	}
	if got := received("hard-reset"); got != "hard-reset" {
		t.Errorf("a text without a code became %q", got)
	}
}

func TestNotificationsAreInWords(t *testing.T) {
	for codes, want := range map[[2]int64]string{
		{6, 2}:     "Cease, administrative shutdown (code 6, subcode 2)",
		{6, 10}:    "Cease, BFD down (code 6, subcode 10)",
		{6, 11}:    "Cease (code 6, subcode 11)",
		{4, 0}:     "hold timer expired (code 4, subcode 0)",
		{2, 2}:     "OPEN message error, bad peer AS (code 2, subcode 2)",
		{2, 0}:     "OPEN message error (code 2, subcode 0)",
		{0, 1}:     "unknown reason (code 0, subcode 1)",
		{200, 255}: "unknown reason (code 200, subcode 255)",
	} {
		if got := inWords(codes[0], codes[1]); got != want {
			t.Errorf("%v: %q, want %q", codes, got, want)
		}
	}
}

func TestNotificationOfARouterIsExplained(t *testing.T) {
	want := map[string]string{}
	var peers []Peer
	for codes, words := range map[[2]uint8]string{
		{6, 1}:  "127.0.0.1 ended the session: Cease, maximum number of prefixes reached (code 6, subcode 1): this node advertises more prefixes than the router accepts",
		{6, 2}:  "127.0.0.1 ended the session: Cease, administrative shutdown (code 6, subcode 2): this neighbour is switched off on the router",
		{6, 3}:  "Cease, peer de-configured (code 6, subcode 3): this node was removed from the neighbours of the router",
		{6, 10}: "Cease, BFD down (code 6, subcode 10)",
		{4, 0}:  "hold timer expired (code 4, subcode 0): the router heard nothing from this node",
		{3, 11}: "127.0.0.1 ended the session: UPDATE message error, malformed AS_PATH (code 3, subcode 11)",
	} {
		name, first := fmt.Sprint(codes), true
		want[name] = words
		peers = append(peers, startRouter(t, 1, func(c *connection) {
			if first {
				first = false
				c.establish()
				c.notify(codes[0], codes[1])
				c.drain()
			}
		}).peer(name))
	}
	a := announce(t, peers...)
	for name, words := range want {
		waitFor(t, a, name, words, func(st Status) bool { return st.Downs == 1 && hasProblem(words)(st) })
	}
}

// Before the session is up, GoBGP says in its log alone why it does not come up.
func TestProblemsAreReadFromTheLogOfGoBGP(t *testing.T) {
	tests := []struct {
		name  string
		serve func(c *connection)
		peer  func(p *Peer)
		want  string
	}{
		{"failed to connect", func(*connection) {}, func(p *Peer) { p.Port = 1 }, "no process listens at 127.0.0.1 port 1"},
		{"outgoing connection IO error", func(*connection) {}, nil, "no other program of this node has a session with it"},
		{"sent notification: another AS", func(c *connection) { c.read(); c.open(64599, 3, routerID); c.drain() }, nil, "127.0.0.1 is not in AS 64513"},
		{"sent notification: our router ID", func(c *connection) { c.read(); c.open(ourASN, 3, netip.MustParseAddr("192.0.2.2")); c.drain() },
			func(p *Peer) { p.ASN = ourASN }, "127.0.0.1 has the same router ID as this node, 192.0.2.2"},
		{"sent notification: hold time", func(c *connection) { c.read(); c.open(routerASN, 1, routerID); c.drain() }, nil,
			"the session with 127.0.0.1 cannot be set up: OPEN message error, unacceptable hold time (code 2, subcode 6)"},
		{"a NOTIFICATION instead of an OPEN", func(c *connection) { c.read(); c.notify(2, 2); c.drain() }, nil, "127.0.0.1 refuses this node: it may expect another AS than our 64512"},
		{"a NOTIFICATION instead of a KEEPALIVE", func(c *connection) { c.read(); c.open(routerASN, 3, routerID); c.read(); c.notify(6, 5); c.drain() }, nil, "127.0.0.1 refuses this node"},
		{"hold timer expired", func(c *connection) { c.establish(); c.drain() }, nil, "127.0.0.1 sent nothing for the hold time, 3s"},
		{"the connection ends", func(c *connection) { c.establish(); c.read() }, nil, "127.0.0.1 closed the connection without a NOTIFICATION"},
		{"not BGP", func(c *connection) {
			c.establish()
			_, _ = c.Write(append(make([]byte, 16), 0, 19, 9)) // if it fails, the test sees that
			c.drain()
		}, nil, "this node ended the session: message header error"},
		{"outgoing connection established", func(c *connection) { c.drain() }, nil, "127.0.0.1 accepted the connection, but sends nothing"},
		{"a TTL of 1, with ttl-security", func(c *connection) { c.establish(); c.alive() }, func(p *Peer) { p.TTLSecurity = true }, "sends packets with a TTL below 255 (ttl-security)"},
	}
	var peers []Peer
	for _, test := range tests {
		p := startRouter(t, 1, test.serve).peer(test.name)
		if test.peer != nil {
			test.peer(&p)
		}
		peers = append(peers, p)
	}
	secure := startRouter(t, 255, func(c *connection) { c.establish(); c.alive() }).peer("a TTL of 255, with ttl-security")
	secure.TTLSecurity = true
	a := announce(t, append(peers, secure)...)
	for _, test := range tests {
		waitFor(t, a, test.name, test.want, hasProblem(test.want))
	}
	waitFor(t, a, secure.Name, "the session is up", isUp)
}

func TestRouterThatSendsTooManyPrefixesIsLeftAlone(t *testing.T) {
	more := make(chan struct{})
	const name = "router"
	a := announce(t, startRouter(t, 1, func(c *connection) {
		c.establish()
		c.sendPrefixes(0, maxPrefixes)
		select {
		case <-more: // closed in the second session
		case <-t.Context().Done():
			return
		}
		c.sendPrefixes(maxPrefixes, 1)
		c.alive()
	}).peer(name))
	waitFor(t, a, name, "the session is up", isUp)
	a.mu.Lock()
	s := a.sessions[name]
	a.mu.Unlock()
	waitFor(t, a, name, "all prefixes have arrived", func(Status) bool { return s.prefixesOf(t) == maxPrefixes })
	if st := a.Status()[0]; !st.Up || st.Downs > 0 {
		t.Fatalf("the session has ended below the limit: %+v", st)
	}
	close(more)
	waitFor(t, a, name, "the session ends", hasProblem("127.0.0.1 sent more than 20000 prefixes of one family"))
	waitFor(t, a, name, "the session is idle", func(st Status) bool { return st.State == idle })

	s.mu.Lock()
	if s.limited.IsZero() {
		t.Error("the session may begin again at once")
	}
	s.limited = s.limited.Add(-limitPause) // as if the pause were over
	s.mu.Unlock()
	a.changed()
	waitFor(t, a, name, "the session begins again", func(st Status) bool { return st.Ups == 2 })
}

// sendPrefixes sends n routes to host addresses, from 10.0.0.0+first on.
func (c *connection) sendPrefixes(first, n int) {
	hop, err := packet.NewPathAttributeNextHop(routerID)
	if err != nil {
		return
	}
	attributes := []packet.PathAttributeInterface{
		packet.NewPathAttributeOrigin(0),
		packet.NewPathAttributeAsPath([]packet.AsPathParamInterface{packet.NewAsPathParam(packet.BGP_ASPATH_ATTR_TYPE_SEQ, []uint16{routerASN})}),
		hop,
	}
	for from := first; from < first+n; from += 500 {
		var routes []packet.PathNLRI
		for i := from; i < min(from+500, first+n); i++ {
			prefix, err := packet.NewIPAddrPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
			if err != nil {
				return
			}
			routes = append(routes, packet.PathNLRI{NLRI: prefix})
		}
		c.send(packet.NewBGPUpdateMessage(nil, attributes, routes))
	}
}

// prefixesOf returns how many prefixes the session has received.
func (s *session) prefixesOf(t *testing.T) (n uint64) {
	t.Helper()
	err := s.server.ListPeer(context.Background(), &api.ListPeerRequest{EnableAdvertised: true}, func(p *api.Peer) {
		for _, family := range p.AfiSafis {
			n += family.State.Received
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPauseAfterTooManyPrefixesEnds(t *testing.T) {
	now := time.Now()
	s := &session{limited: now}
	if left := s.reopen(now.Add(time.Minute)); left != limitPause-time.Minute || s.limited.IsZero() {
		t.Errorf("after a minute it waits for %v", left)
	}
	if s = (&session{}); s.reopen(now) != 0 {
		t.Error("a session that may be up waits")
	}
}
