//go:build tools

package e2e

// Kubernetes' own end-to-end tests are built from the module, too; they are no
// program, so that a tool line cannot name them.
import _ "k8s.io/kubernetes/test/e2e"
