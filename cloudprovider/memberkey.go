package cloudprovider

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

// ensureMemberKey creates the Secret with the speakers' key if it does not exist, so that
// the operator need not create it. It does not read an existing Secret, because the cluster
// manager's role allows only create.
func (c *Cloud) ensureMemberKey(ctx context.Context) {
	secret := memberkey.New(c.options.ConfigMap.Namespace)
	_ = wait.PollUntilContextCancel(ctx, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
		switch {
		case err == nil:
			c.log.Info("Secret with the speakers' key created", "secret", secret.Namespace+"/"+secret.Name)
		case !apierrors.IsAlreadyExists(err):
			c.log.Error("creating the Secret with the speakers' key failed; the speakers wait for it, retrying", "secret", secret.Namespace+"/"+secret.Name, "error", err)
			return false, nil
		}
		return true, nil
	}) // the error is that of ctx: the process ends
}
