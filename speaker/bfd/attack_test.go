package bfd

import (
	"cmp"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// The attacker sends from the address of the peer, but does not see its packets. So it does not
// know the discriminator of the session. The kernel drops what does not come from the link; see
// TestSocketDropsPacketsThatAreNotFromTheLink. BFD has no other authentication: a host on the
// link that forges the peer's address can end a session with a discriminator of 0, as a peer
// that restarts does (RFC 5880 section 6.8.6). The test takes HOURS of simulated time.
func TestAttackByForgedPacketsEndsNoSession(t *testing.T) {
	hours, err := strconv.Atoi(cmp.Or(os.Getenv("HOURS"), "1"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	rng := rand.New(rand.NewPCG(1, 2))
	for end := p.now.Add(time.Duration(hours) * time.Hour); p.now.Before(end); p.run(50 * time.Millisecond) {
		forged := packet{my: rng.Uint32(), your: 3 + rng.Uint32N(1<<31), state: State(rng.IntN(4)), multiplier: byte(1 + rng.IntN(255)),
			poll: rng.IntN(2) == 0, final: rng.IntN(2) == 0, desiredMinTx: time.Duration(rng.IntN(1e9)), requiredRx: time.Duration(rng.IntN(1e9))}
		if p.a.receive(forged, p.now) {
			t.Fatalf("%+v is answered", forged)
		}
		p.want(t, Up, Up)
	}
}
