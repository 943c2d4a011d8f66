package cluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Binaries are the paths of programs by the names of the programs.
type Binaries map[string]string

// String joins the paths. The name of a program is the last element of its path.
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

// build builds the programs that are missing. It keeps other projects' programs in the
// user's cache directory. It builds this project's programs every time, which is quick
// because of Go's build cache.
func build(root string, programs []Program) (Binaries, error) {
	b := Binaries{}
	told := false
	for _, p := range programs {
		dir, err := p.cacheDir(root)
		if err != nil {
			return nil, err
		}
		b[p.name] = filepath.Join(dir, p.name)
		if _, err := os.Stat(b[p.name]); err != nil && !told {
			told = true
			fmt.Fprintf(os.Stderr, "Building Kubernetes and the other programs of the cluster.\nThis takes ten minutes or more on two cores. It happens only once: the programs are kept in %s.\n", filepath.Dir(dir))
		}
		if err := p.buildInto(dir, root); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	make := exec.Command("make", "--no-print-directory", "-C", root, "build")
	make.Stderr = os.Stderr
	if out, err := make.Output(); err != nil {
		return nil, fmt.Errorf("building the project: %w\n%s", err, out)
	}
	reportBuilt("the programs of this project", start)
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker", "kubectl-baremetal"} {
		b[name] = filepath.Join(root, "bin", name)
	}
	return b, nil
}

// buildInto builds the program unless dir contains it already.
func (p Program) buildInto(dir, root string) error {
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	target := filepath.Join(dir, p.name)
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	return p.compile(root, target)
}

// lock waits until no other process builds programs into the cache directory.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintln(os.Stderr, "waiting for another process that builds the same programs")
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	return func() { _ = f.Close() }, nil // releases the lock
}

func (p Program) compile(root, target string) error {
	module := filepath.Join(root, p.module)
	deps, err := output(module, "go", "list", "-deps", fmt.Sprint("-test=", p.isTests), p.pkg)
	if err != nil {
		return fmt.Errorf("loading %s: %w", p.pkg, err)
	}
	total := strings.Count(deps, "\n")
	partial := target + ".partial"
	args := []string{"build"}
	if p.isTests {
		args = []string{"test", "-c", "-vet=off"}
	}
	flags, err := p.linkerFlags(root)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append(args, "-v", "-trimpath", "-o", partial, "-ldflags", flags, p.pkg)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if p.cgo {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	lines, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building %s: %w", p.name, err)
	}
	said := showProgress(lines, p.name, total)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", p.name, err, said)
	}
	reportBuilt(p.name, start)
	return os.Rename(partial, target)
}

// reportBuilt prints that a program was built. On a terminal it overwrites the line of
// showProgress.
func reportBuilt(what string, start time.Time) {
	begin := ""
	if isTerminal(os.Stderr) {
		begin = "\r"
	}
	fmt.Fprintf(os.Stderr, "%s  built %-46s %4.0f s\n", begin, what, time.Since(start).Seconds())
}

// showProgress prints how many packages the compiler has named so far. It returns the
// last lines of the compiler, which contain the errors.
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
