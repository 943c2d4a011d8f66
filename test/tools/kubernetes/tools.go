//go:build tools

// Package kubernetes only names what is built from this module: the programs of
// Kubernetes, and its own end-to-end tests. A tool line in go.mod cannot name the tests,
// because they are no main package.
package kubernetes

import _ "k8s.io/kubernetes/test/e2e"
