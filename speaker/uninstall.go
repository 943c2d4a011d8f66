package speaker

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isUninstalled reports whether the product is being removed from the cluster. The speaker may then read
// its configuration no more, because its account or its rights are gone.
func isUninstalled(ctx context.Context, o Options) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := o.Client.CoreV1().ConfigMaps(o.ConfigMap.Namespace).Get(ctx, o.ConfigMap.Name, metav1.GetOptions{})
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}
