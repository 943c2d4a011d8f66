package memberkey

import (
	"bytes"
	"slices"
	"time"
)

const (
	// settleTime is how long a speaker accepts a new key before it sends with it. The
	// other speakers hear of the key at almost the same time, and they, too, must accept
	// it before the first message comes.
	settleTime = 5 * time.Second
	// retireTime is how long a speaker accepts a key that is not in the Secret any more.
	// A speaker whose watch of the Secret is interrupted still sends with it.
	retireTime = time.Minute
	// maxKeys bounds the keys that are accepted, because every message of a stranger is
	// checked with all of them.
	maxKeys = 4
)

// Ring holds the keys that a speaker uses while the Secret changes, so that no
// message between two speakers is lost, whichever of them hears of the change first.
// It is for one goroutine.
type Ring struct {
	keys []ringKey
	send []byte // the key that is sent with
	want []byte // the key that the Secret says to send with
}

type ringKey struct {
	key []byte
	// since is when the key was first accepted.
	since time.Time
	// until is when the key is not accepted any more; zero while it is in the Secret.
	until time.Time
}

// NewRing returns the Ring of a speaker that starts. It sends with the Secret's key at
// once.
func NewRing(k Keys) *Ring {
	r := &Ring{send: k.Send}
	r.Set(time.Time{}, k)
	return r
}

// Set gives the ring the keys of a changed Secret.
func (r *Ring) Set(now time.Time, k Keys) {
	r.want = k.Send
	for i := range r.keys {
		inSecret := bytes.Equal(r.keys[i].key, k.Send) || bytes.Equal(r.keys[i].key, k.Accepted)
		switch {
		case inSecret:
			r.keys[i].until = time.Time{}
		case r.keys[i].until.IsZero():
			r.keys[i].until = now.Add(retireTime)
		}
	}
	for _, key := range [][]byte{k.Accepted, k.Send} {
		if len(key) > 0 && r.find(key) < 0 {
			r.keys = slices.Insert(r.keys, 0, ringKey{key: key, since: now})
		}
	}
	for len(r.keys) > maxKeys {
		r.keys = slices.Delete(r.keys, r.oldest(), r.oldest()+1)
	}
}

// Keys returns the keys to use now. The first one is for sending, all are accepted. next
// is when Keys has to be called again; zero if that is not before the next Set.
func (r *Ring) Keys(now time.Time) (keys [][]byte, next time.Time) {
	note := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !bytes.Equal(r.send, r.want) {
		if settled := r.keys[r.find(r.want)].since.Add(settleTime); now.Before(settled) {
			note(settled)
		} else {
			r.send = r.want
		}
	}
	r.keys = slices.DeleteFunc(r.keys, func(k ringKey) bool {
		return !k.until.IsZero() && !now.Before(k.until) && !bytes.Equal(k.key, r.send)
	})
	keys = [][]byte{r.send}
	for _, k := range r.keys {
		if !bytes.Equal(k.key, r.send) {
			keys = append(keys, k.key)
		}
		if now.Before(k.until) {
			note(k.until)
		}
	}
	return keys, next
}

func (r *Ring) find(key []byte) int {
	return slices.IndexFunc(r.keys, func(k ringKey) bool { return bytes.Equal(k.key, key) })
}

// oldest returns the index of the key that is dropped first: the one that retires next,
// except the key that is sent with.
func (r *Ring) oldest() int {
	oldest := -1
	for i, k := range r.keys {
		if !k.until.IsZero() && !bytes.Equal(k.key, r.send) && (oldest < 0 || !k.until.After(r.keys[oldest].until)) {
			oldest = i
		}
	}
	return oldest
}
