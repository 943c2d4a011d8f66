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

	"golang.org/x/sys/unix"
)

// roleVariable tells a copy of this program what it is to be; see Main.
const roleVariable = "BAREMETAL_TEST_ROLE"

// Needs are what has to be there before a program is isolated.
type Needs struct {
	// Forward lets the API server be reached from outside while the program runs.
	Forward bool
	// Full is for clusters with Options.Full.
	Full bool
	// Previous is the product as it was one commit ago; see Env.Previous.
	Previous bool
	// Programs are more that are built.
	Programs []Program
	// Modules are Go modules, PATH@VERSION, whose files are wanted; see Env.Module.
	Modules []string
	// Debian are more commands and their packages, COMMAND=PACKAGE.
	Debian []string
}

// Main runs inside, a program that starts clusters, in namespaces of its own
// (network, mounts, processes), so that it can disturb nothing on the machine
// and the kernel takes everything away when it ends, whatever way it ends. It
// returns the exit code of the program. What needs the machine's network is done
// before: binaries are built and packages installed.
//
// The program is run again in the namespaces; call Main first thing in main or
// TestMain, with nothing before it that must not happen twice.
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

// interrupted is the exit code after Ctrl-C, as shells have it.
const interrupted = 130

// Env is what the program in the namespaces gets from the one outside.
type Env struct {
	// Root is the project's root directory.
	Root string
	// Dir is a directory for files of the cluster, also seen from outside.
	Dir string
	// Binaries are the paths of programs, by name.
	Binaries Binaries
	// Forward is the address, outside, at which the API server can be reached, if
	// Main was asked for that.
	Forward string
}

// PID is the number outside of the first process in the namespaces.
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
		_ = os.RemoveAll(env.Dir) // nothing has run there, if it is there
		return 1
	}
	code := isolate(env)
	removeCgroups(filepath.Base(env.Dir))
	if code == 0 || code == interrupted {
		_ = os.RemoveAll(env.Dir) // under the temporary directory, no harm if it stays
	} else {
		fmt.Fprintln(os.Stderr, "logs of the cluster:", filepath.Join(env.Dir, "logs"))
	}
	return code
}

func prepare(n Needs) (Env, error) {
	if os.Getuid() != 0 {
		return Env{}, fmt.Errorf("this needs root, for network namespaces")
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
		return Env{}, fmt.Errorf("installing what is missing: %w", err)
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

// isolate runs this program again, as the first process of new namespaces. It
// is killed with this one, and everything in the namespaces with it.
func isolate(env Env) int {
	// The death signal comes when the starting thread ends, not the process.
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
		fmt.Fprintln(os.Stderr, "leaving a note of the process:", err) // only for people to look inside
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case s := <-interrupts:
		fmt.Fprintln(os.Stderr, "\nended by", s)
		_ = cmd.Process.Kill() // it may just have ended by itself
		<-ended
		return interrupted
	}
	return cmd.ProcessState.ExitCode()
}

func enterAndRun(inside func(Env) int) int {
	env := Env{Root: os.Getenv("BAREMETAL_TEST_ROOT"), Dir: os.Getenv("BAREMETAL_TEST_DIR"), Binaries: parseBinaries(os.Getenv("BAREMETAL_TEST_BINARIES")), Forward: os.Getenv("BAREMETAL_TEST_FORWARD")}
	if err := enter(); err != nil {
		fmt.Fprintln(os.Stderr, "entering the namespaces:", err)
		return 1
	}
	return inside(env)
}

// enter makes the new namespaces usable: no mount is seen outside, /proc shows
// our processes only, and `ip netns` keeps its names in a /run of our own.
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

// projectRoot is the directory above the module of the tests.
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
	return "", fmt.Errorf("%s is not inside the project; run this from there", mod)
}
