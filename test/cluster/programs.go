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

// Program is a program of another project. It is built from a Go module of this project,
// whose go.mod names the version.
//
// The environment variable KUBERNETES chooses another minor version of Kubernetes: with
// KUBERNETES=v1.36 its programs are built from test/tools/kubernetes/v1.36.
type Program struct {
	name    string
	module  string // directory below the project's root
	pkg     string
	isTests bool // pkg is a package of tests, not a main package
	cgo     bool // the program contains C
}

// kubernetesModule builds the programs of the newest version of Kubernetes.
const kubernetesModule = "test/tools/kubernetes"

// lightPrograms are the programs that every cluster needs.
var lightPrograms = []Program{
	{name: "etcd", module: kubernetesModule, pkg: "go.etcd.io/etcd/server/v3"},
	{name: "kubectl", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kubectl"},
	{name: "kube-apiserver", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-apiserver"},
	{name: "kube-controller-manager", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{name: "kube-proxy", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-proxy"},
}

// fullPrograms are the additional programs of a cluster with kubelets.
var fullPrograms = []Program{
	{name: "kubelet", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kubelet"},
	{name: "kube-scheduler", module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-scheduler"},
	{name: "agnhost", module: kubernetesModule, pkg: "k8s.io/kubernetes/test/images/agnhost"},
	{name: "coredns", module: "test/tools/coredns", pkg: "."},
}

// These are programs that tests can name in Needs.Programs.
var (
	// Suite is the program with Kubernetes' own end-to-end tests.
	Suite = Program{name: "e2e.test", module: kubernetesModule, pkg: "k8s.io/kubernetes/test/e2e", isTests: true}
	// Ginkgo runs the tests of Suite, several at the same time.
	Ginkgo = Program{name: "ginkgo", module: kubernetesModule, pkg: "github.com/onsi/ginkgo/v2/ginkgo"}
	// Helm installs charts.
	Helm = Program{name: "helm", module: "test/chart", pkg: "helm.sh/helm/v3/cmd/helm"}
	// MetalLBController and MetalLBSpeaker are the programs of MetalLB v0.12.
	MetalLBController = Program{name: "metallb-controller", module: "test/tools/metallb", pkg: "go.universe.tf/metallb/controller"}
	MetalLBSpeaker    = Program{name: "metallb-speaker", module: "test/tools/metallb", pkg: "go.universe.tf/metallb/speaker"}
	// MetalLB016Controller and MetalLB016Speaker are the programs of MetalLB v0.16, which has
	// custom resources.
	MetalLB016Controller = Program{name: "controller", module: "test/tools/metallb016", pkg: "go.universe.tf/metallb/controller"}
	MetalLB016Speaker    = Program{name: "speaker", module: "test/tools/metallb016", pkg: "go.universe.tf/metallb/speaker"}
	// Traefik is an ingress controller.
	Traefik = Program{name: "traefik", module: "test/tools/traefik", pkg: "github.com/traefik/traefik/v3/cmd/traefik"}
)

// programs returns the programs to build: those of every cluster, those of a cluster with
// kubelets if it is full, and more.
func programs(full bool, more []Program) ([]Program, error) {
	all := slices.Clone(lightPrograms)
	version := os.Getenv("KUBERNETES")
	if version != "" && full {
		return nil, fmt.Errorf("KUBERNETES=%s: a cluster with kubelets runs only with the newest version; unset KUBERNETES", version)
	}
	for i := range all {
		if version != "" {
			all[i].module = filepath.Join(kubernetesModule, version)
		}
	}
	if full {
		all = append(all, fullPrograms...)
	}
	return append(all, more...), nil
}

// goMod returns the text of go.mod of the program's module.
func (p Program) goMod(root string) ([]byte, error) {
	mod, err := os.ReadFile(filepath.Join(root, p.module, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("reading the versions of %s: %w", p.name, err)
	}
	return mod, nil
}

var (
	kubernetesLine = regexp.MustCompile(`k8s\.io/kubernetes (v1\.(\d+)\.\S+)`)
	// These lines of go.mod decide what a program of Kubernetes contains. All other lines
	// are ignored, so that a new dependency of the tests does not build Kubernetes again.
	versionLine = regexp.MustCompile(`(?m)^.*(k8s\.io/|etcd).* v\d\S+`)
)

// cacheDir returns the directory for the built program. Its name contains a hash of the
// versions, so that every set of versions has a directory of its own.
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

// linkerFlags returns the flags that write the version into Kubernetes' programs. Other
// programs get no version.
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
