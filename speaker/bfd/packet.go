package bfd

import (
	"encoding/binary"
	"errors"
	"time"
)

// State is the state of a session (RFC 5880, section 4.1).
type State uint8

// The states.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

func (s State) String() string {
	return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3]
}

// diagnostic says why a session last went down (RFC 5880, section 4.1).
type diagnostic uint8

const (
	noDiagnostic     diagnostic = 0
	detectionExpired diagnostic = 1
	neighborDown     diagnostic = 3
	administrative   diagnostic = 7
)

// packet is a control packet without authentication. Intervals have the
// resolution of the wire, a microsecond.
type packet struct {
	diag         diagnostic
	state        State
	poll, final  bool
	multiplier   uint8
	my, your     uint32 // discriminators
	desiredMinTx time.Duration
	requiredRx   time.Duration
}

const (
	packetLen = 24

	flagPoll       = 0x20
	flagFinal      = 0x10
	flagAuth       = 0x04
	flagMultipoint = 0x01
)

// marshal returns the packet as it is sent (RFC 5880, section 4.1). The echo
// function is not offered: its interval is 0.
func (p packet) marshal() []byte {
	b := make([]byte, packetLen)
	b[0] = 1<<5 | byte(p.diag)
	b[1] = byte(p.state) << 6
	if p.poll {
		b[1] |= flagPoll
	}
	if p.final {
		b[1] |= flagFinal
	}
	b[2], b[3] = p.multiplier, packetLen
	binary.BigEndian.PutUint32(b[4:], p.my)
	binary.BigEndian.PutUint32(b[8:], p.your)
	binary.BigEndian.PutUint32(b[12:], uint32(p.desiredMinTx.Microseconds()))
	binary.BigEndian.PutUint32(b[16:], uint32(p.requiredRx.Microseconds()))
	return b
}

// The reasons to discard a packet, from RFC 5880, section 6.8.6.
var (
	errShort         = errors.New("the packet is too short, or its length field is wrong")
	errVersion       = errors.New("the version is not 1")
	errMultiplier    = errors.New("the detect multiplier is 0")
	errMultipoint    = errors.New("the multipoint bit is set")
	errDiscriminator = errors.New("a discriminator that must not be 0 is 0")
	errAuth          = errors.New("the packet is authenticated; authentication is not supported")
)

func parse(b []byte) (packet, error) {
	if len(b) < packetLen || b[3] < packetLen || int(b[3]) > len(b) {
		return packet{}, errShort
	}
	p := packet{
		diag:         diagnostic(b[0] & 0x1f),
		state:        State(b[1] >> 6),
		poll:         b[1]&flagPoll != 0,
		final:        b[1]&flagFinal != 0,
		multiplier:   b[2],
		my:           binary.BigEndian.Uint32(b[4:]),
		your:         binary.BigEndian.Uint32(b[8:]),
		desiredMinTx: time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Microsecond,
		requiredRx:   time.Duration(binary.BigEndian.Uint32(b[16:])) * time.Microsecond,
	}
	switch {
	case b[0]>>5 != 1:
		return packet{}, errVersion
	case p.multiplier == 0:
		return packet{}, errMultiplier
	case b[1]&flagMultipoint != 0:
		return packet{}, errMultipoint
	case p.my == 0, p.your == 0 && p.state > Down:
		return packet{}, errDiscriminator
	case b[1]&flagAuth != 0:
		return packet{}, errAuth
	}
	return p, nil
}
