package heartbeat

import (
	"slices"
	"testing"
	"time"
)

func TestProfileIsKnownWhenHalfOfTheNeighboursHaveIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		deaf []string // nodes to which a firewall drops the heartbeats of node1
		off  []string // nodes without power
		want bool
	}{
		{"all hear it", nil, nil, true},
		{"one does not hear it", []string{"node2"}, nil, true},
		{"half do not hear it", []string{"node2", "node3"}, nil, true},
		{"one alone hears it", []string{"node2", "node3", "node4"}, nil, false},
		{"none hears it", []string{"node2", "node3", "node4", "node5"}, nil, false},
		{"one of two hears it, the others are dead", []string{"node2"}, []string{"node4", "node5"}, true},
		{"two are dead, and the others do not hear it", []string{"node2", "node3"}, []string{"node4", "node5"}, false},
	} {
		w := newWorld(t, 5, defaultTiming)
		self := w.nodes[0]
		self.engine.say(Profile{1, []byte("first")})
		for _, n := range w.nodes {
			n.off = slices.Contains(tt.off, n.name)
		}
		w.after(self)
		w.run(time.Second) // until the dead ones are known, and no news is repeated
		if known := self.engine.view.Known; known != 1 {
			t.Fatalf("%s: version %d is known before", tt.name, known)
		}
		w.firewall = func(from, to *node, _ int) bool { return from == self && slices.Contains(tt.deaf, to.name) }
		self.engine.say(Profile{2, []byte("second")})
		w.after(self)
		if known := self.engine.view.Known; known != 1 {
			t.Errorf("%s: version %d is known before an answer has come", tt.name, known)
		}
		took := w.run(200*time.Millisecond, func() bool { return self.engine.view.Known == 2 })
		if known := self.engine.view.Known == 2; known != tt.want || known && took > 3*latency {
			t.Errorf("%s: known is %v after %v, want %v", tt.name, known, took, tt.want)
		}
		views := self.engine.views
		w.firewall = nil
		w.run(100 * time.Millisecond)
		if known := self.engine.view.Known; known != 2 || tt.want == (self.engine.views != views) {
			t.Errorf("%s: version %d is known when the firewall is open, after %d more views", tt.name, known, self.engine.views-views)
		}
	}
}

// Addresses may have no owner from when the old owner knows until this speaker knows that.
func TestProfileIsSoonKnownOnALossyNetwork(t *testing.T) {
	w := newWorld(t, 5, defaultTiming)
	w.lost = func(_, _ *node) bool { return w.rng.Float64() < 0.4 }
	for version := uint64(1); version <= 100; version++ {
		self := w.nodes[version%5]
		self.engine.say(Profile{version, []byte("profile")})
		w.after(self)
		if took := w.run(time.Second, func() bool { return self.engine.view.Known == version }); took > 250*time.Millisecond {
			t.Errorf("version %d is known after %v", version, took)
		}
	}
}

func TestProfileIsKnownIfNoMemberWasHeard(t *testing.T) {
	w := newIdleWorld(t, 3, 1, defaultTiming, 7)
	w.firewall = func(_, _ *node, _ int) bool { return true }
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.nodes[0].engine.say(Profile{1, []byte("first")})
	w.run(time.Second)
	if known := w.nodes[0].engine.view.Known; known != 1 {
		t.Errorf("version %d is known", known)
	}
}

// A speaker tells members that are no neighbours a few times only. A member that it did not reach then
// would elect another owner until the member list brings the profile.
func TestProfileReachesAMemberThatWasCutOff(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	self := w.nodes[0]
	far := w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n != self && !self.engine.ring.neighbours(self.name, n.name) })]
	w.cutOn(0, func(from, to *node) bool { return from == self && to == far })
	self.engine.say(Profile{1, []byte("first")})
	w.after(self)
	w.run(2 * time.Second)
	if far.engine.view.Profiles[self.name].Version != 0 {
		t.Fatal("frames are not cut")
	}
	w.cut = nil
	w.run(200 * time.Millisecond)
	if far.engine.view.Profiles[self.name].Version != 1 {
		t.Error("the member does not know the profile when it hears the speaker again")
	}
	sent := self.engine.seq
	w.run(time.Second)
	if n := self.engine.seq - sent; n > 30 {
		t.Errorf("%d messages in a second although all know the profile", n)
	}
}

// A message has room for few suspicions. Those that count as votes must arrive.
func TestVotesComeFirstInAMessage(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	e := w.nodes[0].engine
	to := e.near[0].paths[0]
	suspicions := map[accused]kind{}
	for i := range 3 * maxSuspicions {
		suspicions[accused{uint64(i), to.Remote}] = kindReached
	}
	suspicions[accused{1000, to.Remote}], suspicions[accused{1001, to.Remote}] = kindKernel, 0
	e.suspicions = map[string]map[accused]kind{to.Link: suspicions}
	e.out = nil
	e.send(to, 0, w.now)
	var votes []uint64
	for _, s := range e.out[0].message.suspicions[:maxSuspicions] {
		if s.kind.isVote() {
			votes = append(votes, s.node)
		}
	}
	slices.Sort(votes)
	if !slices.Equal(votes, []uint64{1000, 1001}) {
		t.Errorf("the votes against %v arrive, want those against 1000 and 1001", votes)
	}
}

// Two messages take different ways, over two links. The older one arrives last.
func TestOlderProfileDoesNotReplaceANewerOne(t *testing.T) {
	w := newLinkedWorld(t, 3, 2, defaultTiming)
	n, other := w.nodes[0], w.nodes[1]
	delayed := message{}
	w.cut = func(from, to *node, link int) bool { return from == other && to == n && link == 1 }
	w.after(other)
	for _, version := range []uint64{1, 2} {
		other.engine.say(Profile{Version: version, Bytes: []byte{byte(version)}})
		other.engine.step(w.now)
		for _, p := range other.engine.out {
			if version == 1 && p.path.Remote == n.addrs[1] {
				delayed = p.message
			}
		}
		w.after(other)
		w.run(50 * time.Millisecond)
	}
	if delayed.seq == 0 {
		t.Fatal("no message with the first profile")
	}
	n.engine.receive(w.now, delayed)
	w.after(n)
	if got := n.engine.view.Profiles[other.name]; got.Version != 2 || n.engine.members[other.name].find(delayed.to, delayed.from).flags != delayed.flags {
		t.Errorf("the profile has version %d", got.Version)
	}
	w.cut = nil
	// A speaker that starts anew may begin with lower versions.
	w.start(other)
	w.tell(other)
	other.engine.say(Profile{Version: 1, Bytes: []byte{7}})
	w.run(2 * time.Second)
	if got := n.engine.view.Profiles[other.name]; got.Version != 1 || got.Bytes[0] != 7 {
		t.Errorf("the profile of the new process: %+v", got)
	}
}
