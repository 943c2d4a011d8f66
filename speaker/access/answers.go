package access

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

const (
	// allowedFor is how long the API server is not asked again about a client that it
	// allows.
	allowedFor = time.Minute
	// allowedWithoutAPI is how long a client stays allowed while the API server does not
	// answer. It counts from the last answer.
	allowedWithoutAPI = 10 * time.Minute
	// refusedFor is how long a refusal is remembered. It is also how long the API server is
	// not asked again after it did not answer.
	refusedFor = 10 * time.Second
	// maxAnswers bounds the memory, to about 50 KB.
	maxAnswers = 256
)

// verdict is what a client gets.
type verdict int

const (
	unauthenticated verdict = iota
	forbidden
	allowed
	unavailable
	busy
)

// answer is what the API server said about a token.
type answer struct {
	verdict verdict
	user    string
	// askAgain is when the API server should be asked again. Until end the answer can be
	// used if it does not answer.
	askAgain, end time.Time
}

// answers are remembered by the SHA-256 of the token.
type answers map[[sha256.Size]byte]answer

// get returns an answer that can still be used.
func (a answers) get(key [sha256.Size]byte, now time.Time) (answer, bool) {
	found, ok := a[key]
	return found, ok && now.Before(found.end)
}

// put remembers an answer, and returns it with its times.
func (a answers) put(key [sha256.Size]byte, got answer, now time.Time) answer {
	got.askAgain, got.end = now.Add(refusedFor), now.Add(refusedFor)
	if got.verdict == allowed {
		got.askAgain, got.end = now.Add(allowedFor), now.Add(allowedWithoutAPI)
	}
	if _, replaced := a[key]; !replaced && len(a) >= maxAnswers {
		a.makeRoom(now)
	}
	a[key] = got
	return got
}

// keep uses an answer for longer, because the API server does not answer.
func (a answers) keep(key [sha256.Size]byte, known answer, now time.Time) {
	if _, ok := a[key]; ok { // else it made room for another
		known.askAgain = now.Add(refusedFor)
		a[key] = known
	}
}

// makeRoom removes what has ended, or else the answer that ends first. Refusals end before
// the answers for clients that are allowed.
func (a answers) makeRoom(now time.Time) {
	var first [sha256.Size]byte
	var firstEnd time.Time
	for key, got := range a {
		if !now.Before(got.end) {
			delete(a, key)
		} else if firstEnd.IsZero() || got.end.Before(firstEnd) {
			first, firstEnd = key, got.end
		}
	}
	if len(a) >= maxAnswers {
		delete(a, first)
	}
}

const (
	// maxInFlight reviews can wait for the API server.
	maxInFlight = 4
	// In each budgetTime, at most maxUnknown tokens are reviewed that are not allowed yet,
	// maxUnknownPerClient of them for one client. Clients that are allowed do not count.
	budgetTime                      = 10 * time.Second
	maxUnknown, maxUnknownPerClient = 20, 5
)

// budget bounds how many reviews strangers can cause.
type budget struct {
	inFlight  int
	since     time.Time
	total     int
	perClient map[netip.Addr]int
}

// begin reports whether a review may begin. known means that the client was allowed before.
// After true, end must be called.
func (b *budget) begin(client netip.Addr, known bool, now time.Time) bool {
	if b.inFlight >= maxInFlight {
		return false
	}
	if !known {
		if b.perClient == nil || now.Sub(b.since) >= budgetTime {
			b.since, b.total, b.perClient = now, 0, map[netip.Addr]int{}
		}
		if b.total >= maxUnknown || b.perClient[client] >= maxUnknownPerClient {
			return false
		}
		b.total++
		b.perClient[client]++
	}
	b.inFlight++
	return true
}

func (b *budget) end() { b.inFlight-- }
