// Package memberkey describes the Secret with the key that all speakers share.
// The speakers encrypt their member list and sign their heartbeats with it. The
// cloud controller manager creates the Secret; the speakers read it.
package memberkey

import (
	"crypto/rand"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Name is the name of the Secret. It is in the namespace of the ConfigMap.
	Name = "memberlist"
	// DataKey is the key of the Secret's data that holds the speakers' key.
	DataKey = "secretkey"
	// length is the length of a new key, in bytes.
	length = 32
)

// New returns the Secret with a new random key.
func New(namespace string) *v1.Secret {
	key := make([]byte, length)
	rand.Read(key) // never fails
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
		Data:       map[string][]byte{DataKey: key},
	}
}

// Read returns the key in a Secret. The error says how to repair the Secret.
func Read(secret *v1.Secret) ([]byte, error) {
	key := secret.Data[DataKey]
	if len(key) == 0 {
		return nil, fmt.Errorf("the Secret %s/%s has no %q in its data; delete the Secret and restart the cloud controller manager, which creates a new one",
			secret.Namespace, secret.Name, DataKey)
	}
	return key, nil
}
