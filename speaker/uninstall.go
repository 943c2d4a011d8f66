package speaker

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// isUninstalled reports whether the product is being removed from the cluster. The speaker may then list
// the ConfigMaps of its namespace no more, which it does all the time otherwise: its account or its rights are gone.
func isUninstalled(ctx context.Context, client kubernetes.Interface, namespace string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}
