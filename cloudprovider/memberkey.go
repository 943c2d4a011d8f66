package cloudprovider

import (
	"context"
	"crypto/rand"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The Secret with which speakers encrypt what they say to each other.
const (
	memberSecret    = "memberlist"
	memberSecretKey = "secretkey"
)

// ensureMemberKey makes the Secret of the member list when it is missing, so
// that nobody has to make one by hand. An existing one is not looked at: the
// right to create is enough for that.
func (c *Cloud) ensureMemberKey(ctx context.Context) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	secret := &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.options.ConfigMap.Namespace, Name: memberSecret},
		Data:       map[string][]byte{memberSecretKey: key},
	}
	_ = wait.PollUntilContextCancel(ctx, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
		switch {
		case err == nil:
			c.log.Info("made the key of the member list", "secret", secret.Namespace+"/"+secret.Name)
		case !apierrors.IsAlreadyExists(err):
			c.log.Error("the key of the member list could not be made, speakers wait for it; trying again", "secret", secret.Namespace+"/"+secret.Name, "error", err)
			return false, nil
		}
		return true, nil
	}) // ends with success or ctx
}
