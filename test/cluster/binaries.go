package cluster

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kubernetesVersion is the version in go.mod; it only has to be told to the
// binaries, which learn theirs when they are linked.
const kubernetesVersion = "v1.37.2"

// Binaries are the paths of programs, by name.
type Binaries map[string]string

// String joins the paths; the names are their last elements.
func (b Binaries) String() string {
	var paths []string
	for _, path := range b {
		paths = append(paths, path)
	}
	return strings.Join(paths, ":")
}

func parseBinaries(text string) Binaries {
	b := Binaries{}
	for path := range strings.SplitSeq(text, ":") {
		b[filepath.Base(path)] = path
	}
	return b
}

// thirdParty are the programs of the cluster and their packages, which are
// tools of this module.
var thirdParty = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
}

// build builds what is missing. Third-party programs are kept in the user's
// cache directory; our own are built each time, which Go's cache makes quick.
func build(root string) (Binaries, error) {
	cache, err := cacheDir(root)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	b := Binaries{}
	missing := 0
	for _, name := range []string{"etcd", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-proxy"} {
		b[name] = filepath.Join(cache, name)
		if _, err := os.Stat(b[name]); err == nil {
			continue
		}
		if missing == 0 {
			fmt.Fprintf(os.Stderr, "Building Kubernetes %s and etcd; they are kept in %s.\nThis takes about ten minutes on two cores, once.\n", kubernetesVersion, cache)
		}
		missing++
		if err := compile(filepath.Join(root, "test"), thirdParty[name], b[name]); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	make := exec.Command("make", "--no-print-directory", "-C", root, "build")
	make.Stderr = os.Stderr
	if out, err := make.Output(); err != nil {
		return nil, fmt.Errorf("building the project: %w\n%s", err, out)
	}
	reportBuilt("our own two programs", start)
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker"} {
		b[name] = filepath.Join(root, "bin", name)
	}
	return b, nil
}

// cacheDir returns a directory that is used by nobody with other versions.
func cacheDir(root string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(root, "test", "go.mod"))
	if err != nil {
		return "", fmt.Errorf("reading the versions of Kubernetes: %w", err)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a cache directory: %w", err)
	}
	// Only the lines that decide what is built: a new test dependency must not
	// build Kubernetes again.
	var versions strings.Builder
	for line := range strings.Lines(string(mod)) {
		if strings.Contains(line, "k8s.io/") || strings.Contains(line, "etcd") {
			versions.WriteString(strings.TrimSuffix(strings.TrimSpace(line), " // indirect"))
		}
	}
	sum := sha256.Sum256([]byte(versions.String()))
	dir := filepath.Join(base, "cloud-provider-baremetal", "kubernetes-"+kubernetesVersion+"-"+hex.EncodeToString(sum[:4]))
	return dir, os.MkdirAll(dir, 0o755)
}

// lock waits until no other process builds into the cache.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintln(os.Stderr, "waiting for another build of the Kubernetes binaries")
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	return func() { _ = f.Close() }, nil // releases the lock
}

func compile(module, pkg, target string) error {
	name := filepath.Base(target)
	deps, err := output(module, "go", "list", "-deps", pkg)
	if err != nil {
		return fmt.Errorf("loading %s: %w", pkg, err)
	}
	total := strings.Count(deps, "\n")
	partial := target + ".partial"
	minor := strings.Split(kubernetesVersion, ".")[1]
	version := "-X k8s.io/component-base/version."
	cmd := exec.Command("go", "build", "-v", "-trimpath", "-o", partial, "-ldflags",
		"-s -w "+version+"gitVersion="+kubernetesVersion+" "+version+"gitMajor=1 "+version+"gitMinor="+minor, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	lines, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building %s: %w", name, err)
	}
	said := showProgress(lines, name, total)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, said)
	}
	reportBuilt(name, start)
	return os.Rename(partial, target)
}

// reportBuilt overwrites the line of the progress, if there is one.
func reportBuilt(what string, start time.Time) {
	begin := ""
	if isTerminal(os.Stderr) {
		begin = "\r"
	}
	fmt.Fprintf(os.Stderr, "%s  built %-46s %4.0f s\n", begin, what, time.Since(start).Seconds())
}

// showProgress counts the packages that the compiler names, and returns its
// last lines, which say what is wrong if something is.
func showProgress(lines io.Reader, name string, total int) string {
	terminal := isTerminal(os.Stderr)
	var last []string
	said := time.Now()
	n := 0
	for scanner := bufio.NewScanner(lines); scanner.Scan(); n++ {
		last = append(last[max(0, len(last)-10):], scanner.Text())
		if terminal || time.Since(said) > 30*time.Second {
			said = time.Now()
			end := "\n"
			if terminal {
				end = "\r"
			}
			fmt.Fprintf(os.Stderr, "  building %s: %d of at most %d packages%s", name, n, total, end)
		}
	}
	return strings.Join(last, "\n")
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	return string(out), err
}
