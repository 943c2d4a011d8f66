package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// roleVariable is set in the environment of a copy of this program, and names its role;
// see Main and play.
const roleVariable = "BAREMETAL_TEST_ROLE"

// Needs are the things that Main prepares before it isolates a program.
type Needs struct {
	// Forward makes the API server reachable from outside of the namespaces while the
	// program runs; see Cluster.HowToEnter.
	Forward bool
	// Full prepares for clusters with Options.Full.
	Full bool
	// Previous builds the product as it was one commit ago; see Env.Previous.
	Previous bool
	// Programs are additional programs to build.
	Programs []Program
	// Modules are Go modules to download, PATH@VERSION; see Env.Module.
	Modules []string
	// Debian are additional commands and their Debian packages, COMMAND=PACKAGE.
	Debian []string
}

// Main runs inside, a function that starts clusters, in namespaces of its own (network,
// mounts, processes), and returns its exit code. The namespaces protect the machine, and
// the kernel removes everything in them when the program ends, even if it is killed.
// Before that, Main does what needs the machine's network: it builds programs and installs
// packages.
//
// Main starts this program again in the namespaces. So it must be the first call in main or
// TestMain: code before it runs twice.
//
// On SIGINT and SIGTERM, Main kills the program in the namespaces, unless the program has
// called Env.CatchSignals.
func Main(n Needs, inside func(Env) int) int {
	switch role := os.Getenv(roleVariable); role {
	case "":
		return outside(n)
	case "inside":
		return enterAndRun(inside)
	default:
		return play(role)
	}
}

// interrupted is the exit code after Ctrl-C. Shells use the same code.
const interrupted = 130

// Env is the environment that Main has prepared for the program in the namespaces.
type Env struct {
	// Root is the project's root directory.
	Root string
	// Dir is a directory for files of the cluster. Programs outside of the namespaces can
	// read it, too.
	Dir string
	// Binaries are the paths of programs, by name.
	Binaries Binaries
	// Forward is HOST:PORT at which the API server can be reached from outside of the
	// namespaces, if Needs.Forward is set.
	Forward string
}

// PID returns the process ID of the program in the namespaces, as seen from outside.
func (e Env) PID() (string, error) {
	pid, err := os.ReadFile(filepath.Join(e.Dir, "pid"))
	return string(pid), err
}

func outside(n Needs) int {
	env, err := prepare(n)
	if err == nil && n.Forward {
		var stop func()
		env.Forward, stop, err = forwardTo(filepath.Join(env.Dir, forwardSocket))
		defer stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
		_ = os.RemoveAll(env.Dir) // no program has run, so there are no logs
		return 1
	}
	code := isolate(env)
	removeCgroups(filepath.Base(env.Dir))
	if code == 0 || code == interrupted {
		_ = os.RemoveAll(env.Dir) // if that fails, it is only a temporary directory
	} else {
		fmt.Fprintln(os.Stderr, "The logs of all programs of the cluster are in", filepath.Join(env.Dir, "logs"))
	}
	return code
}

func prepare(n Needs) (Env, error) {
	if os.Getuid() != 0 {
		return Env{}, fmt.Errorf("only root can make network namespaces; run this as root")
	}
	root, err := projectRoot()
	if err != nil {
		return Env{}, err
	}
	debian := append([]string{"nft=nftables", "ip=iproute2"}, n.Debian...)
	if n.Full {
		debian = append(debian, fullDebian...)
	}
	need := exec.Command(filepath.Join(root, "hack", "need"), debian...)
	need.Stdout, need.Stderr = os.Stderr, os.Stderr
	if err := need.Run(); err != nil {
		return Env{}, fmt.Errorf("installing Debian packages: %w", err)
	}
	all, err := programs(n.Full, n.Programs)
	if err != nil {
		return Env{}, err
	}
	binaries, err := build(root, all)
	if err != nil {
		return Env{}, err
	}
	dir, err := os.MkdirTemp("", "baremetal-cluster-")
	env := Env{Root: root, Dir: dir, Binaries: binaries}
	if err == nil && n.Previous {
		err = buildPrevious(env)
	}
	if err == nil {
		err = downloadModules(env, n.Modules)
	}
	return env, err
}

// isolate runs this program again, as the first process of new namespaces, and returns its
// exit code. If this process dies, the kernel kills the program, and with it everything in
// the namespaces.
func isolate(env Env) int {
	// The kernel sends the death signal when the thread that started the program ends. So
	// the thread must not end before the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), roleVariable+"=inside", "BAREMETAL_TEST_ROOT="+env.Root, "BAREMETAL_TEST_DIR="+env.Dir, "BAREMETAL_TEST_BINARIES="+env.Binaries.String(), "BAREMETAL_TEST_FORWARD="+env.Forward)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "making namespaces:", err)
		return 1
	}
	if err := os.WriteFile(filepath.Join(env.Dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "writing the process ID:", err) // without it users cannot enter the namespaces, but tests can run
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case s := <-interrupts:
		fmt.Fprintln(os.Stderr, "\nstopped by signal:", s)
		if _, err := os.Stat(env.signalsCaught()); err == nil {
			_ = cmd.Process.Signal(s) // fails only if the program has ended
			select {
			case <-ended:
				return cmd.ProcessState.ExitCode()
			case <-interrupts: // the user is impatient
			case <-time.After(closeTimeout):
			}
		}
		_ = cmd.Process.Kill() // fails only if the program has ended
		<-ended
		return interrupted
	}
	return cmd.ProcessState.ExitCode()
}

// closeTimeout is how long a program that has called Env.CatchSignals can take to end after
// a signal, before isolate kills it.
const closeTimeout = 15 * time.Second

func enterAndRun(inside func(Env) int) int {
	env := Env{Root: os.Getenv("BAREMETAL_TEST_ROOT"), Dir: os.Getenv("BAREMETAL_TEST_DIR"), Binaries: parseBinaries(os.Getenv("BAREMETAL_TEST_BINARIES")), Forward: os.Getenv("BAREMETAL_TEST_FORWARD")}
	if err := enter(); err != nil {
		fmt.Fprintln(os.Stderr, "entering the namespaces:", err)
		return 1
	}
	return inside(env)
}

// enter makes the new namespaces usable: mounts are not visible outside, /proc shows only
// the processes in the namespaces, and `ip netns` keeps its names in a /run of its own.
func enter() error {
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	if err := os.Mkdir("/run/netns", 0o755); err != nil {
		return err
	}
	return ip("link set lo up")
}

// projectRoot returns the project's root directory. It looks upward from the directory of
// the current Go module.
func projectRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the project: %w", err)
	}
	mod := filepath.Dir(string(out))
	for dir := mod; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "baremetal-speaker")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%s is outside of the project; run this in a directory of the project", mod)
}
