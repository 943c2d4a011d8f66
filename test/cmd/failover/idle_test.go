package main

import "testing"

func TestOwnerChangesAreCountedWithoutOtherDecisions(t *testing.T) {
	log := `time=x level=INFO msg="layer 2 decision changed" vip=192.0.2.1 services=[default/a] reason=Owner owner=node1 before=node2
time=x level=INFO msg="layer 2 decision changed" vip=192.0.2.1 services=[default/a] reason=Fenced owner=node1 before=node1
time=x level=INFO msg="layer 2 decision changed" vip=192.0.2.1 services=[default/a] reason=NoCandidate owner="" before=node1
time=x level=INFO msg="BGP decision changed" vip=192.0.2.1 owner=node1 before=node2
`
	if n := ownerChanges(log); n != 2 {
		t.Errorf("%d changes, want 2", n)
	}
}

func TestDisturbancesExcludeEachOther(t *testing.T) {
	for _, c := range []struct {
		o    options
		want string // empty for an error
	}{
		{options{busy: 0}, "with nothing else to do"},
		{options{busy: 3, loss: 20}, "with 20% of all frames lost"},
		{options{busy: 3, stop: true}, "while all speakers are stopped together again and again"},
		{options{watcher: true}, "while a speaker that owns nothing is stopped again and again"},
		{options{watcher: true, stop: true}, ""},
		{options{loss: 10, stop: true}, ""},
	} {
		d, err := c.o.disturbance()
		if d.what != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, error %v", c.o, d.what, err)
		}
	}
}

func TestCandidatesOfAPlanAreCounted(t *testing.T) {
	const line = "node x\n192.0.2.1 services=default/a pool=default owner=node1 candidates="
	for plan, want := range map[string]int{
		"": 0, line + "none reason=NoCandidate\n": 0, line + "node1 reason=Owner\n": 1, line + "node1,node2,node3 reason=OtherOwner\n": 3,
	} {
		if n := candidates(plan); n != want {
			t.Errorf("%q: %d, want %d", plan, n, want)
		}
	}
}
