package speaker

import (
	"net/netip"
	"testing"
	"time"
)

func TestOtherKeysSayWhoSentThemAndWhen(t *testing.T) {
	k, start := newOtherKeys(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	k.add(otherKey{"members", a}, start)
	k.add(otherKey{"heartbeat", b}, start.Add(time.Minute))
	k.add(otherKey{"members", a}, start.Add(2*time.Minute))
	got := k.document(start.Add(2 * time.Minute))
	if len(got) != 2 || got[0].To != "members" || got[0].From != a || !got[0].Last.Equal(start.Add(2*time.Minute)) || got[1].To != "heartbeat" || got[1].From != b {
		t.Errorf("%+v", got)
	}
	if got := k.document(start.Add(otherKeyFor + 90*time.Second)); len(got) != 1 || got[0].From != a {
		t.Errorf("after %v: %+v", otherKeyFor, got)
	}
}

func TestOtherKeysForgetTheOldestOfManySenders(t *testing.T) {
	k, start := newOtherKeys(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("192.0.2.0")
	for i := range 2 * maxOtherKeys {
		k.add(otherKey{"heartbeat", addr}, start.Add(time.Duration(i)*time.Millisecond))
		addr = addr.Next()
	}
	got := k.document(start.Add(time.Second))
	if len(got) != maxOtherKeys || got[0].From != addr.Prev() {
		t.Errorf("%d are remembered, the last is %+v", len(got), got[0])
	}
}

func TestAddressOfOtherKeyHasNoZoneAndIsNotMapped(t *testing.T) {
	for from, want := range map[string]string{"::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1"} {
		k := newOtherKeys()
		k.of("heartbeat")(netip.MustParseAddr(from))
		if got := k.document(time.Now()); len(got) != 1 || got[0].From.String() != want {
			t.Errorf("%s: %+v", from, got)
		}
	}
}
