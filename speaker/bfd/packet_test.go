package bfd

import (
	"errors"
	"testing"
	"time"
)

func TestPacketRoundTrip(t *testing.T) {
	for _, want := range []packet{
		{state: Down, multiplier: 3, my: 1, desiredMinTx: time.Second, requiredRx: 300 * time.Millisecond},
		{state: Up, diag: neighborDown, poll: true, multiplier: 255, my: 1 << 31, your: 5, desiredMinTx: 50 * time.Millisecond},
		{state: AdminDown, diag: administrative, final: true, multiplier: 1, my: 2},
	} {
		if got, err := parse(want.marshal()); err != nil || got != want {
			t.Errorf("read %+v, %v; written %+v", got, err, want)
		}
	}
}

func TestPacketIsDiscardedIfItIsInvalid(t *testing.T) {
	good := packet{state: Up, multiplier: 3, my: 1, your: 2}.marshal()
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"empty":                               {func(b []byte) []byte { return nil }, errShort},
		"truncated":                           {func(b []byte) []byte { return b[:23] }, errShort},
		"length field longer than the packet": {func(b []byte) []byte { b[3] = 25; return b }, errShort},
		"length field shorter than a header":  {func(b []byte) []byte { b[3] = 23; return b }, errShort},
		"version 0":                           {func(b []byte) []byte { b[0] = 0; return b }, errVersion},
		"multiplier 0":                        {func(b []byte) []byte { b[2] = 0; return b }, errMultiplier},
		"multipoint":                          {func(b []byte) []byte { b[1] |= 1; return b }, errMultipoint},
		"without its discriminator":           {func(b []byte) []byte { b[7] = 0; return b }, errDiscriminator},
		"up without our discriminator":        {func(b []byte) []byte { b[11] = 0; return b }, errDiscriminator},
		"authenticated":                       {func(b []byte) []byte { b[1] |= 4; return b }, errAuth},
	} {
		if _, err := parse(c.change(append([]byte{}, good...))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzPacket checks that a session survives every packet, and still sends valid packets.
func FuzzPacket(f *testing.F) {
	f.Add(packet{state: Down, multiplier: 3, my: 1, desiredMinTx: time.Second}.marshal())
	f.Add(packet{state: Up, multiplier: 1, my: 9, your: 1, poll: true}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		s := newSession(Session{Receive: time.Second, Transmit: time.Second, Multiplier: 3}, 1)
		now := time.Unix(0, 0)
		s.receive(p, now)
		s.expire(now.Add(s.detection()))
		if out := s.send(now, 1); out != nil {
			if _, err := parse(out.marshal()); err != nil {
				t.Errorf("sends %+v: %v", out, err)
			}
		}
	})
}
