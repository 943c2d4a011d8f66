package members

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// keys are memberlist's keys. memberlist reads them from the ring for every message.
type keys struct {
	mu   sync.Mutex
	ring *memberlist.Keyring
}

// encryptionKey returns a key of memberlist, which has to be 32 bytes long.
func encryptionKey(secret []byte) []byte {
	key := sha256.Sum256(secret)
	return key[:]
}

// set replaces the keys. The first one is the one to send with.
//
// Readers of the ring hold no lock. So a key is removed only while it is the last one:
// to remove another one, memberlist would overwrite what they read.
func (k *keys) set(secrets [][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	want := make([][]byte, len(secrets))
	for i, secret := range secrets {
		want[i] = encryptionKey(secret)
	}
	if k.ring == nil {
		k.ring = &memberlist.Keyring{}
	}
	// The ring refuses only keys of another length, and the removal of the first key.
	for _, key := range want {
		_ = k.ring.AddKey(key)
	}
	_ = k.ring.UseKey(want[0])
	unwanted := func(key []byte) bool {
		return !slices.ContainsFunc(want, func(w []byte) bool { return bytes.Equal(w, key) })
	}
	for now := k.ring.GetKeys(); slices.ContainsFunc(now, unwanted); now = k.ring.GetKeys() {
		_ = k.ring.RemoveKey(now[len(now)-1])
	}
	for _, key := range want {
		_ = k.ring.AddKey(key)
	}
}

// count returns how many keys are accepted.
func (k *keys) count() int { return len(k.ring.GetKeys()) }
