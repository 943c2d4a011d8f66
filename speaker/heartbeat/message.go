package heartbeat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
)

// message is one heartbeat, from one address of a speaker to one of a member.
//
// Epochs make a replay worthless. A speaker chooses its epoch when it starts, after a
// freeze, and when it is told that it was dead. A receiver counts a message only if it repeats the receiver's own
// epoch, and if its sequence number is higher than the last one in the sender's
// epoch. The epoch of a sender never goes back. If the clock of a machine goes back, its
// speaker learns its last epoch from the other speakers and takes a higher one.
type message struct {
	name       string // of the sender's node
	from, to   netip.Addr
	epoch      uint64 // the sender's
	echo       uint64 // the receiver's, as far as the sender knows; 0 if it does not
	seq        uint64
	flags      flags
	suspicions []suspicion
	// profile is what the sender says of itself, with a version of its own. The bytes are missing
	// if the receiver has that version. knows is the version that the sender has of the
	// receiver's; 0 for none.
	profile Profile
	knows   uint64
}

// Profile is what a speaker says of itself. The heartbeats do not read it.
type Profile struct {
	// Version is higher than the versions before; 0 for no profile.
	Version uint64
	// Bytes are at most MaxProfile bytes.
	Bytes []byte
}

// MaxProfile is the largest number of bytes of a Profile.
const MaxProfile = 512

type flags uint8

const (
	flagProbe   flags = 1 << iota // the sender wants an answer at once
	flagHearing                   // the sender hears the receiver on this path
	flagFenced                    // the sender announces nothing on this link
	flagDead                      // the sender takes the receiver for dead on this path
	flagRenew                     // the sender does so in the epoch that it repeats: the receiver should begin a new one
	flagGone                      // the sender has taken the receiver for dead in an earlier epoch, a short time ago
	flagOften                     // with flagGone: not for the first time in the last minutes
	flagKernel                    // the sender watches the receiver's kernel, so heartbeats may be slow
	// flagAsking without flagGone: the sender was frozen, and asks whether it was replaced.
	flagAsking = flagOften
	// flagPaused without flagDead: the sender, or its whole machine, did not run a moment ago, and it has
	// heard nothing since.
	flagPaused = flagRenew
)

// isAsking reports whether the sender asks whether it was replaced.
func (f flags) isAsking() bool { return f&(flagGone|flagAsking) == flagAsking }

// isPaused reports whether the sender may have been replaced a moment ago, and cannot know it yet.
func (f flags) isPaused() bool { return f&(flagDead|flagPaused) == flagPaused }

// goesOn reports whether the sender is not fenced and has not slept: it may announce.
func (f flags) goesOn() bool { return f&flagFenced == 0 && !f.isAsking() && !f.isPaused() }

// renews reports whether the receiver should begin a new epoch.
func (f flags) renews() bool { return f&(flagDead|flagRenew) == flagDead|flagRenew }

// suspicion says that a speaker does not answer at one of its addresses.
type suspicion struct {
	node uint64 // nodeID of its name
	addr netip.Addr
	kind kind
}

type kind uint8

const (
	kindKernel  kind = 1 << iota // its kernel does not answer
	kindSure                     // the sender has decided that it is dead there
	kindWaiting                  // the sender does not miss it any more, and waits for its new epoch
	kindReached                  // the sender reaches it, although another speaker misses it
	kindLost                     // the sender watched it until the sender's member list lost it
)

// isVote reports whether the sender misses the speaker.
func (k kind) isVote() bool { return k&(kindWaiting|kindReached|kindLost) == 0 }

// nodeID is a hash of a name. It keeps messages short.
func nodeID(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	return h.Sum64()
}

const (
	version = 2
	// fixedLength is the length without the name, the suspicions, the profile and the tag, and
	// without the lengths of the first three.
	fixedLength    = 2 + 5*8 + 2*16
	suspicionBytes = 8 + 16 + 1
	maxSuspicions  = 12
	tagLength      = 16
	// maxMessage fits into one packet on every link (RFC 8200, section 5: 1280 bytes with headers).
	maxMessage = fixedLength + 1 + 255 + 1 + maxSuspicions*suspicionBytes + 2 + MaxProfile + tagLength
)

// The reasons for rejecting a message. Their texts are labels of a metric.
var (
	errMalformed = errors.New("malformed")
	errVersion   = errors.New("version")
	errKey       = errors.New("key")
)

// keyring holds the keys of the heartbeats. A speaker sends with the first one, and
// accepts all of them.
type keyring [][]byte

// newKeyring derives the keys of the heartbeats from the keys that all speakers share.
func newKeyring(secrets [][]byte) keyring {
	keys := make(keyring, len(secrets))
	for i, secret := range secrets {
		sum := sha256.Sum256(append([]byte("baremetal heartbeat\x00"), secret...))
		keys[i] = sum[:]
	}
	return keys
}

// send is the key to send with.
func (k keyring) send() []byte { return k[0] }

// find returns the first key for which made returns got, or nil.
func (k keyring) find(got []byte, made func(key []byte) []byte) []byte {
	for _, key := range k {
		if hmac.Equal(got, made(key)) {
			return key
		}
	}
	return nil
}

func tag(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text) // never fails
	return mac.Sum(nil)[:tagLength]
}

// seal returns the message in its form on the network.
func (m message) seal(key []byte) []byte {
	b := append(make([]byte, 0, maxMessage), version, byte(m.flags))
	for _, v := range []uint64{m.epoch, m.echo, m.seq, m.profile.Version, m.knows} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, addr := range []netip.Addr{m.from, m.to} {
		as16 := addr.As16()
		b = append(b, as16[:]...)
	}
	name := m.name[:min(len(m.name), 255)]
	b = append(append(b, byte(len(name))), name...)
	suspicions := m.suspicions[:min(len(m.suspicions), maxSuspicions)]
	b = append(b, byte(len(suspicions)))
	for _, s := range suspicions {
		as16 := s.addr.As16()
		b = append(append(binary.BigEndian.AppendUint64(b, s.node), as16[:]...), byte(s.kind))
	}
	profile := m.profile.Bytes[:min(len(m.profile.Bytes), MaxProfile)]
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(profile))), profile...)
	return append(b, tag(key, b)...)
}

// accused returns the addresses at which the sender believes that the speaker with this ID is dead.
func (m message) accused(id uint64) (addrs []netip.Addr) {
	for _, s := range m.suspicions {
		if s.node == id && s.kind&kindSure != 0 {
			addrs = append(addrs, s.addr)
		}
	}
	return addrs
}

// open reads a message and checks that its sender has one of the keys.
func open(keys keyring, b []byte) (message, error) {
	if len(b) < fixedLength+1+1+2+tagLength {
		return message{}, errMalformed
	}
	if b[0] != version {
		return message{}, errVersion
	}
	text := b[:len(b)-tagLength]
	if keys.find(b[len(text):], func(key []byte) []byte { return tag(key, text) }) == nil {
		return message{}, errKey
	}
	m := message{
		flags: flags(b[1]),
		epoch: binary.BigEndian.Uint64(b[2:]), echo: binary.BigEndian.Uint64(b[10:]), seq: binary.BigEndian.Uint64(b[18:]),
		knows: binary.BigEndian.Uint64(b[34:]),
		from:  netip.AddrFrom16([16]byte(b[42:58])).Unmap(), to: netip.AddrFrom16([16]byte(b[58:74])).Unmap(),
	}
	m.profile.Version = binary.BigEndian.Uint64(b[26:])
	rest := text[fixedLength:]
	length := int(rest[0])
	if len(rest) < 1+length+1+2 {
		return message{}, errMalformed
	}
	m.name, rest = string(rest[1:1+length]), rest[1+length:]
	count := int(rest[0])
	if rest = rest[1:]; len(rest) < count*suspicionBytes+2 {
		return message{}, errMalformed
	}
	for range count {
		m.suspicions = append(m.suspicions, suspicion{
			node: binary.BigEndian.Uint64(rest), addr: netip.AddrFrom16([16]byte(rest[8:24])).Unmap(), kind: kind(rest[24]),
		})
		rest = rest[suspicionBytes:]
	}
	length = int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) != length || length > MaxProfile {
		return message{}, errMalformed
	}
	if length > 0 {
		m.profile.Bytes = append([]byte(nil), rest...) // b is used again
	}
	return m, nil
}
