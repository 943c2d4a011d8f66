package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

func TestDistanceCountsTypingErrors(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"name", "name", 0}, {"nmae", "name", 1}, {"nam", "name", 1}, {"names", "name", 1},
		{"nane", "name", 1}, {"adresses", "addresses", 1}, {"protocl", "protocol", 1}, {"interfacse", "interfaces", 1}, {"peer", "pool", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%s, %s: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestClosestName(t *testing.T) {
	names := []string{"name", "key", "peers", "address-pools", "my-asn"}
	for word, want := range map[string]string{
		"nmae": "name", "gamma": "", "ky": "key", "my": "", "peer": "peers", "peerss": "peers", "address_pools": "address-pools", "AddressPools": "address-pools",
		"adress-pool": "address-pools", "address": "", "myASN": "my-asn", "": "", "ADDRESS-POOLS": "address-pools",
	} {
		if got := closest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// A field that identity forgets would make two different peers the same.
func TestPeerIdentityHasEveryField(t *testing.T) {
	selector, err := labels.Parse("a=b")
	if err != nil {
		t.Fatal(err)
	}
	values := map[reflect.Type]reflect.Value{
		reflect.TypeFor[string]():            reflect.ValueOf("x"),
		reflect.TypeFor[uint32]():            reflect.ValueOf(uint32(1)),
		reflect.TypeFor[uint16]():            reflect.ValueOf(uint16(1)),
		reflect.TypeFor[uint8]():             reflect.ValueOf(uint8(1)),
		reflect.TypeFor[int]():               reflect.ValueOf(1),
		reflect.TypeFor[bool]():              reflect.ValueOf(true),
		reflect.TypeFor[time.Duration]():     reflect.ValueOf(time.Second),
		reflect.TypeFor[netip.Addr]():        reflect.ValueOf(netip.MustParseAddr("192.0.2.1")),
		reflect.TypeFor[[]labels.Selector](): reflect.ValueOf([]labels.Selector{selector}),
	}
	empty := (&Peer{}).identity()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Peer]()) {
		var peer Peer
		reflect.ValueOf(&peer).Elem().FieldByIndex(field.Index).Set(values[field.Type])
		ignored := field.Name == "Name" || field.Name == "Line"
		if same := peer.identity() == empty; same != ignored {
			t.Errorf("%s: the identity is the same: %v, want %v", field.Name, same, ignored)
		}
	}
}

func TestSetFindsWhatItHas(t *testing.T) {
	var s set[int]
	for i := range 3 * maxFew {
		if !s.add(i) || s.add(i) || s.add(0) && i > 0 {
			t.Errorf("wrong answer at %d", i)
		}
	}
}

func TestEntriesFindWhatTheyHave(t *testing.T) {
	var e entries
	for i := range 3 * maxFew {
		name := string(rune('A' + i))
		if e.find(name) >= 0 {
			t.Errorf("%s is there before it was added", name)
		}
		e.set(entry{key: name})
		e.set(entry{key: name, merged: true})
		if at := e.find(name); at != i || !e.all[i].merged || len(e.all) != i+1 {
			t.Errorf("%s is at %d of %d", name, at, len(e.all))
		}
	}
}
