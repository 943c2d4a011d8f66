// Package memberkey describes the Secret with the keys that all speakers share.
// The speakers encrypt their member list and sign their heartbeats with them. The
// cloud controller manager creates the Secret; the speakers watch it.
package memberkey

import (
	"bytes"
	"crypto/rand"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Name is the name of the Secret. It is in the namespace of the ConfigMap.
	Name = "memberlist"
	// DataKey is the key of the Secret's data that holds the key with which speakers
	// send.
	DataKey = "secretkey"
	// AcceptedDataKey is the key of the Secret's data that holds a second key. Speakers
	// accept it and do not send with it. It can be missing.
	AcceptedDataKey = "secretkey-accepted"
	// MinLength is the length of the shortest key that is used, in bytes. A shorter key
	// can be guessed.
	MinLength = 16
	// length is the length of a new key, in bytes.
	length = 32
)

// Keys are the keys in a Secret.
type Keys struct {
	// Send is the key with which a speaker sends. It accepts this key, too.
	Send []byte
	// Accepted is a second key that a speaker accepts; nil if there is none.
	Accepted []byte
}

// Equal reports whether two Keys are the same.
func (k Keys) Equal(o Keys) bool {
	return bytes.Equal(k.Send, o.Send) && bytes.Equal(k.Accepted, o.Accepted)
}

// New returns the Secret with a new random key.
func New(namespace string) *v1.Secret {
	key := make([]byte, length)
	rand.Read(key) // never fails
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
		Data:       map[string][]byte{DataKey: key},
	}
}

// Read returns the keys in a Secret. The error says how to repair the Secret.
func Read(secret *v1.Secret) (Keys, error) {
	keys := Keys{Send: secret.Data[DataKey], Accepted: secret.Data[AcceptedDataKey]}
	switch {
	case len(keys.Send) == 0:
		return Keys{}, fmt.Errorf("the Secret %s/%s has no %q in its data; delete the Secret, and the cloud controller manager creates a new one",
			secret.Namespace, secret.Name, DataKey)
	case len(keys.Send) < MinLength:
		return Keys{}, fmt.Errorf("the key %q in the Secret %s/%s has %d bytes, at least %d are needed; delete the Secret, and the cloud controller manager creates a new one",
			DataKey, secret.Namespace, secret.Name, len(keys.Send), MinLength)
	case len(keys.Accepted) == 0:
		keys.Accepted = nil
	case len(keys.Accepted) < MinLength:
		return Keys{}, fmt.Errorf("the key %q in the Secret %s/%s has %d bytes, at least %d are needed; write a longer key, for example 32 random bytes, or remove it",
			AcceptedDataKey, secret.Namespace, secret.Name, len(keys.Accepted), MinLength)
	}
	return keys, nil
}
