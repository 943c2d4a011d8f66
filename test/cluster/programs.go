package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Program is somebody else's program, built from a Go module of ours that names
// its version.
//
// Kubernetes' own programs can be another minor version's: KUBERNETES=v1.36 takes
// them from test/kubernetes/v1.36.
type Program struct {
	name    string
	module  string // below the project's root
	pkg     string
	isTests bool // a package of tests instead of a main package
}

// lightPrograms are what every cluster needs.
var lightPrograms = []Program{
	{name: "etcd", module: "test", pkg: "go.etcd.io/etcd/server/v3"},
	{name: "kubectl", module: "test", pkg: "k8s.io/kubernetes/cmd/kubectl"},
	{name: "kube-apiserver", module: "test", pkg: "k8s.io/kubernetes/cmd/kube-apiserver"},
	{name: "kube-controller-manager", module: "test", pkg: "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{name: "kube-proxy", module: "test", pkg: "k8s.io/kubernetes/cmd/kube-proxy"},
}

// fullPrograms are what a cluster with kubelets needs beside them.
var fullPrograms = []Program{
	{name: "kubelet", module: "test", pkg: "k8s.io/kubernetes/cmd/kubelet"},
	{name: "kube-scheduler", module: "test", pkg: "k8s.io/kubernetes/cmd/kube-scheduler"},
	{name: "agnhost", module: "test", pkg: "k8s.io/kubernetes/test/images/agnhost"},
	{name: "coredns", module: "test/coredns", pkg: "."},
}

// Programs that a test on a full cluster can ask for.
var (
	// Suite is Kubernetes' own end-to-end tests.
	Suite = Program{name: "e2e.test", module: "test", pkg: "k8s.io/kubernetes/test/e2e", isTests: true}
	// Ginkgo runs them, several at a time.
	Ginkgo = Program{name: "ginkgo", module: "test", pkg: "github.com/onsi/ginkgo/v2/ginkgo"}
	// Helm installs charts.
	Helm = Program{name: "helm", module: "test/chart", pkg: "helm.sh/helm/v3/cmd/helm"}
	// Traefik is an ingress controller.
	Traefik = Program{name: "traefik", module: "test/ingress", pkg: "github.com/traefik/traefik/v3/cmd/traefik"}
)

// programs returns what is to be built: what every cluster needs, what a cluster
// with kubelets needs if it is full, and more.
func programs(full bool, more []Program) ([]Program, error) {
	all := slices.Clone(lightPrograms)
	version := os.Getenv("KUBERNETES")
	if version != "" && full {
		return nil, fmt.Errorf("KUBERNETES=%s: clusters with kubelets are of the newest version only", version)
	}
	for i := range all {
		if version != "" {
			all[i].module = filepath.Join("test", "kubernetes", version)
		}
	}
	if full {
		all = append(all, fullPrograms...)
	}
	return append(all, more...), nil
}

// goMod returns the requirements of the program's module.
func (p Program) goMod(root string) ([]byte, error) {
	mod, err := os.ReadFile(filepath.Join(root, p.module, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("reading the versions of %s: %w", p.name, err)
	}
	return mod, nil
}

var (
	kubernetesLine = regexp.MustCompile(`k8s\.io/kubernetes (v1\.(\d+)\.\S+)`)
	// The lines that decide what a program of Kubernetes is: a new dependency of
	// the tests must not build Kubernetes again.
	versionLine = regexp.MustCompile(`(?m)^.*(k8s\.io/|etcd).* v\d\S+`)
)

// cacheDir returns a directory that is used by nobody with other versions.
func (p Program) cacheDir(root string) (string, error) {
	mod, err := p.goMod(root)
	if err != nil {
		return "", err
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a cache directory: %w", err)
	}
	name := filepath.Base(p.module)
	if v := kubernetesLine.FindSubmatch(mod); v != nil {
		name = "kubernetes-" + string(v[1])
		mod = bytes.Join(versionLine.FindAll(mod, -1), nil)
	}
	sum := sha256.Sum256(mod)
	dir := filepath.Join(base, "cloud-provider-baremetal", name+"-"+hex.EncodeToString(sum[:4]))
	return dir, os.MkdirAll(dir, 0o755)
}

// linkerFlags tell Kubernetes' programs their version, which they learn when they
// are linked.
func (p Program) linkerFlags(root string) (string, error) {
	mod, err := p.goMod(root)
	if err != nil {
		return "", err
	}
	v := kubernetesLine.FindStringSubmatch(string(mod))
	if v == nil {
		return "-s -w", nil
	}
	pkg := "-X k8s.io/component-base/version."
	return strings.Join([]string{"-s -w", pkg + "gitVersion=" + v[1], pkg + "gitMajor=1", pkg + "gitMinor=" + v[2]}, " "), nil
}
