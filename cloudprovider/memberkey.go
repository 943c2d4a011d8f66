package cloudprovider

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

// memberKeyInterval is how often the cluster manager tries to create the Secret with the
// speakers' key.
const memberKeyInterval = 10 * time.Second

// ensureMemberKey creates the Secret with the speakers' key whenever it does not exist, so
// that the operator need not create it, and can delete it to get a new key. It tries to
// create it again and again, and does not read or watch it, because the cluster manager's
// role allows only create.
func (c *Cloud) ensureMemberKey(ctx context.Context) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		secret := memberkey.New(c.options.ConfigMap.Namespace)
		_, err := c.client.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
		switch {
		case err == nil:
			c.log.Info("Secret with the speakers' key created", "secret", secret.Namespace+"/"+secret.Name)
		case !apierrors.IsAlreadyExists(err) && ctx.Err() == nil:
			c.log.Error("creating the Secret with the speakers' key failed; if it does not exist, the speakers wait for it; retrying", "secret", secret.Namespace+"/"+secret.Name, "error", err)
		}
	}, memberKeyInterval)
}
