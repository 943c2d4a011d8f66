// Package project_test holds the shape of the project: which package may import which,
// the map of the packages in docs/design/packages.md, and the links of the docs.
package project_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the map of the packages to docs/design/packages.md")

const module = "github.com/baremetal-lb/cloud-provider-baremetal/"

// layers are the packages of the product from the top down. A package may import
// packages of lower layers only, so packages of one layer do not know each other.
var layers = [][]string{
	{"cmd/baremetal-cloud-controller-manager", "cmd/baremetal-speaker", "cmd/kubectl-baremetal"},
	{"cloudprovider", "speaker"},
	{"speaker/reconcile", "cloudprovider/deadnodes"},
	{"speaker/view", "speaker/plandoc", "speaker/simulate", "speaker/trace", "pkg/diagnose"},
	{"speaker/plan", "speaker/layer2", "speaker/bgp", "speaker/closedports", "speaker/spread", "speaker/heartbeat", "speaker/members", "speaker/links", "speaker/access", "speaker/serve", "speaker/capture"},
	{"speaker/bfd", "speaker/probe", "speaker/tablewatch", "pkg/configmap", "pkg/ipam", "pkg/metallb", "pkg/ui"},
	{"pkg/config", "pkg/election", "pkg/service", "pkg/memberkey", "pkg/speakerapi", "pkg/debugapi", "pkg/signal"},
	{"pkg/loglimit", "pkg/quote", "pkg/build"},
}

// noKubernetes are the packages that do not know Kubernetes. The labels and selectors
// of apimachinery are allowed: they are pure, and part of the configuration's grammar.
var noKubernetes = []string{
	"pkg/config", "pkg/ipam", "pkg/metallb", "pkg/election", "pkg/speakerapi", "pkg/debugapi", "pkg/ui", "pkg/signal", "pkg/loglimit", "pkg/quote", "speaker/plan", "speaker/plandoc", "speaker/simulate", "speaker/layer2", "speaker/bgp", "speaker/bfd",
	"speaker/heartbeat", "speaker/probe", "speaker/members", "speaker/links", "speaker/serve", "speaker/closedports", "speaker/spread", "speaker/tablewatch", "speaker/trace", "speaker/capture",
}

var selectors = []string{"k8s.io/apimachinery/pkg/labels", "k8s.io/apimachinery/pkg/selection"}

// pure are packages that decide: they import nothing that talks, waits or logs.
var pure = []string{"speaker/plan", "speaker/simulate", "pkg/election", "pkg/ipam", "pkg/metallb", "pkg/config", "pkg/quote"}

// impure are imports that a pure package must not have, neither itself nor by way of
// its dependencies.
var impure = []string{
	"k8s.io/api/", "k8s.io/client-go/", "k8s.io/cloud-provider", "github.com/osrg/gobgp/", "github.com/hashicorp/memberlist",
	"github.com/vishvananda/netlink", "github.com/mdlayher/", "github.com/google/nftables", "github.com/prometheus/", "net/http",
}

// noTime are imports that a plan must not have itself: the State has everything.
var noTime = []string{"time", "net", "os", "log/slog", "context", "sync"}

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
}

// name is the import path inside the module.
func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// internal returns the imports that are of this module, as paths inside it.
func (p goPackage) internal() (names []string) {
	for _, i := range p.Imports {
		if name, ok := strings.CutPrefix(i, module); ok {
			names = append(names, name)
		}
	}
	return names
}

// packages returns the packages of the product, by name.
func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps", module+"cmd/...", module+"cloudprovider/...", module+"pkg/...", module+"speaker/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]goPackage{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Imports) > 0 || p.Doc != "" { // else it has tests only
			all[p.name()] = p
		}
	}
}

func TestImportsGoDownward(t *testing.T) {
	rank := map[string]int{}
	for i, layer := range layers {
		for _, name := range layer {
			rank[name] = i
		}
	}
	all := packages(t)
	for name := range rank {
		if _, ok := all[name]; !ok {
			t.Errorf("there is no package %s: correct the layers in this file", name)
		}
	}
	for name, p := range all {
		if _, ok := rank[name]; !ok {
			t.Errorf("package %s has no layer: add it to the layers in this file", name)
			continue
		}
		for _, imported := range p.internal() {
			if rank[imported] <= rank[name] {
				t.Errorf("%s imports %s, which is not in a lower layer", name, imported)
			}
		}
	}
}

func TestKubernetesIsImportedOnlyAtTheEdge(t *testing.T) {
	all := packages(t)
	for _, name := range noKubernetes {
		for _, imported := range all[name].Imports {
			if strings.HasPrefix(imported, "k8s.io/") && !slices.Contains(selectors, imported) {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
}

// The library of the API server would make the speaker half as large again.
func TestSpeakerDoesNotContainAnAPIServer(t *testing.T) {
	for _, dep := range packages(t)["cmd/baremetal-speaker"].Deps {
		if strings.HasPrefix(dep, "k8s.io/apiserver") {
			t.Errorf("cmd/baremetal-speaker depends on %s", dep)
		}
	}
}

func TestPurePackagesOnlyDecide(t *testing.T) {
	all := packages(t)
	for _, name := range pure {
		for _, dep := range all[name].Deps {
			if slices.ContainsFunc(impure, func(prefix string) bool { return strings.HasPrefix(dep, prefix) }) {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
	for _, imported := range all["speaker/plan"].Imports {
		if slices.Contains(noTime, imported) {
			t.Errorf("speaker/plan imports %s", imported)
		}
	}
}

func TestPackageMapIsUpToDate(t *testing.T) {
	const page, begin, end = "docs/design/packages.md", "<!-- begin map -->\n", "<!-- end map -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", page, begin, end)
	}
	now := packageMap(t)
	if old == now {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the imports: run go test -run PackageMap -update .", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+now+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// packageMap returns the map: for each layer a table of its packages.
func packageMap(t *testing.T) string {
	all := packages(t)
	var b strings.Builder
	for _, layer := range layers {
		fmt.Fprintf(&b, "| package | what it does | imports of this project |\n|---|---|---|\n")
		for _, name := range layer {
			imports := all[name].internal()
			slices.Sort(imports)
			for i := range imports {
				imports[i] = "`" + imports[i] + "`"
			}
			fmt.Fprintf(&b, "| `%s`%s | %s | %s |\n", name, marks(name), all[name].Doc, cmp.Or(strings.Join(imports, ", "), "none"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func marks(name string) (text string) {
	if slices.Contains(pure, name) {
		text += ", pure"
	}
	return text
}
