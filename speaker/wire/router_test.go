package wire

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// router is a network namespace at the other end of a wire, with a routing daemon.
type router struct {
	t testing.TB
	// addr4 and addr6 are the router's addresses, node4 and node6 the node's.
	addr4, addr6, node4, node6 netip.Addr

	dir     string
	netns   *exec.Cmd // the process that keeps the namespace alive
	daemons []*exec.Cmd
	shell   []string // the command that sends commands to the daemon
}

// wireRouter makes the namespace of router n, and the wire to it, router-n.
func wireRouter(t testing.TB, n int) *router {
	t.Helper()
	dir, err := os.MkdirTemp("", "baremetal-router-") // not below a directory that FRR's user cannot enter
	if err != nil {
		t.Fatal(err)
	}
	addr := func(format string, host int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, n, host)) }
	r := &router{t: t, dir: dir, addr4: addr("198.51.10%d.%d", 1), addr6: addr("2001:db8:51:%d::%d", 1), node4: addr("198.51.10%d.%d", 2), node6: addr("2001:db8:51:%d::%d", 2)}
	t.Cleanup(func() {
		if t.Failed() {
			r.showLogs()
		}
		_ = os.RemoveAll(dir) // no later test needs it
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	uplink := fmt.Sprintf("router-%d", n)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", uplink).Run() }) // it is gone with the namespace
	r.netns = startNetns(t)
	t.Cleanup(r.kill)
	ip(t, fmt.Sprintf("link add %s type veth peer name node netns %d", uplink, r.netns.Process.Pid))
	ip(t, fmt.Sprintf("addr add %s/24 dev %s", r.node4, uplink))
	ip(t, fmt.Sprintf("addr add %s/64 dev %s nodad", r.node6, uplink))
	ip(t, "link set "+uplink+" up")
	r.run("ip", "link", "set", "lo", "up")
	r.run("ip", "addr", "add", r.addr4.String()+"/24", "dev", "node")
	r.run("ip", "addr", "add", r.addr6.String()+"/64", "dev", "node", "nodad")
	r.run("ip", "link", "set", "node", "up")
	return r
}

// startNetns makes a network namespace, and returns the process that keeps it alive.
func startNetns(t testing.TB) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it never ends by itself
	})
	return cmd
}

// in returns a command that runs in the router's namespace.
func (r *router) in(command ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", r.netns.Process.Pid)}, command...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (r *router) run(command ...string) {
	r.t.Helper()
	if out, err := r.in(command...).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %v: %s", command, err, out)
	}
}

func (r *router) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *router) daemon(command ...string) {
	r.t.Helper()
	cmd := r.in(command...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.daemons = append(r.daemons, cmd)
}

// kill ends the daemons without a goodbye.
func (r *router) kill() {
	for _, cmd := range r.daemons {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // how it ended is known
	}
	r.daemons = nil
}

// need skips the test if a program is not installed.
func need(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%v; make integration installs it", err)
	}
}

// bird starts a BIRD.
func (r *router) bird(config string) {
	r.t.Helper()
	need(r.t, "bird")
	head := fmt.Sprintf("log %q all;\nrouter id %s;\nprotocol device { scan time 1; }\n", filepath.Join(r.dir, "bird.log"), r.addr4)
	file, ctl := r.write("bird.conf", head+config), filepath.Join(r.dir, "ctl")
	r.shell = []string{"birdc", "-s", ctl}
	r.daemon("bird", "-f", "-c", file, "-s", ctl)
}

// frr starts FRR's zebra, bgpd and bfdd.
func (r *router) frr(config string) {
	r.t.Helper()
	need(r.t, "vtysh")
	owner, err := user.Lookup("frr")
	if err != nil {
		r.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid) // on Linux they are numbers
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(r.dir, uid, gid); err != nil {
		r.t.Fatal(err)
	}
	r.shell = []string{"vtysh", "--vty_socket", r.dir, "-c"}
	for _, name := range []string{"zebra", "bfdd", "bgpd"} {
		text := ""
		if name == "bgpd" {
			text = config
		}
		args := []string{"/usr/lib/frr/" + name, "-f", r.write(name+".conf", text), "-i", filepath.Join(r.dir, name+".pid"), "-z", filepath.Join(r.dir, "zserv"),
			"--vty_socket", r.dir, "--log", "file:" + filepath.Join(r.dir, name+".log"), "-u", "frr", "-g", "frr", "-P", "0"}
		if name == "bfdd" {
			args = append(args, "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
		}
		r.daemon(args...)
		if name == "zebra" {
			eventually(r.t, "zebra listens", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv")); return err == nil })
		}
	}
}

// ask returns the router's answer to a command.
func (r *router) ask(command string) string {
	args := r.shell
	if args[0] == "birdc" {
		args = append(args[:len(args):len(args)], strings.Fields(command)...)
	} else {
		args = append(args[:len(args):len(args)], command)
	}
	out, err := r.in(args...).CombinedOutput()
	if err != nil {
		return err.Error() + string(out) // it may not listen yet
	}
	return string(out)
}

// says waits until the answer to a command contains all of the words.
func (r *router) says(command string, words ...string) {
	r.t.Helper()
	var answer string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("the last answer to %q was %s", command, answer)
		}
	}()
	eventually(r.t, fmt.Sprintf("%q says %q", command, words), func() bool {
		answer = r.ask(command)
		for _, w := range words {
			if !strings.Contains(answer, w) {
				return false
			}
		}
		return true
	})
}

func (r *router) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(r.dir, "*.log"))
	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			r.t.Log(err)
		}
		r.t.Logf("the end of %s:\n%s", filepath.Base(file), text[max(0, len(text)-3000):])
	}
}
