package cluster

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// bird configures and starts BIRD.
func (r *Router) bird() error {
	text := fmt.Sprintf("log %q all;\nrouter id %s;\nprotocol device { scan time 1; }\n", filepath.Join(r.dir, "bird.log"), RouterIPv4)
	for _, family := range []string{"ipv4", "ipv6"} {
		text += "protocol kernel { merge paths yes; " + family + " { export all; }; }\n"
	}
	watch := ""
	if r.options.BFD > 0 {
		text += fmt.Sprintf("protocol bfd { interface \"eth0\" { interval %d ms; multiplier 3; }; }\n", r.options.BFD.Milliseconds())
		watch = "bfd graceful;"
	}
	restart := "off"
	if r.options.Graceful {
		restart = "aware"
	}
	text += fmt.Sprintf(`protocol bgp nodes {
	local %s as %d; neighbor range 192.168.120.0/24 as %d; graceful restart %s; error wait time 1, 5; %s
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, RouterIPv4, RouterASN, NodesASN, restart, watch)
	r.shell = []string{"birdc", "-s", filepath.Join(r.dir, "ctl")}
	file := filepath.Join(r.dir, "bird.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return r.start("bird", "bird", "-f", "-c", file, "-s", filepath.Join(r.dir, "ctl"))
}

// frr configures and starts FRR: zebra, bfdd and bgpd.
func (r *Router) frr(ctx context.Context) error {
	owner, err := user.Lookup("frr")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid) // on Linux the identifiers are always numbers
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(r.dir, uid, gid); err != nil {
		return err
	}
	var more string
	if r.options.BFD > 0 {
		ms := r.options.BFD.Milliseconds()
		more += fmt.Sprintf(" neighbor nodes bfd 3 %d %d\n neighbor nodes bfd check-control-plane-failure\n", ms, ms)
	}
	if r.options.Password != "" {
		more += " neighbor nodes password " + r.options.Password + "\n"
	}
	if !r.options.Graceful {
		more = " bgp graceful-restart-disable\n" + more
	}
	text := fmt.Sprintf(`router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as %d
%s bgp listen range 192.168.120.0/24 peer-group nodes
 address-family ipv4 unicast
  neighbor nodes activate
  maximum-paths 16
 address-family ipv6 unicast
  neighbor nodes activate
  maximum-paths 16
`, RouterASN, RouterIPv4, NodesASN, more)
	r.shell = []string{"vtysh", "--vty_socket", r.dir, "-c"}
	for _, name := range []string{"zebra", "bfdd", "bgpd"} {
		config := map[string]string{"bgpd": text}[name]
		file := filepath.Join(r.dir, name+".conf")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			return err
		}
		args := []string{"/usr/lib/frr/" + name, "-f", file, "-i", filepath.Join(r.dir, name+".pid"), "-z", filepath.Join(r.dir, "zserv"),
			"--vty_socket", r.dir, "--log", "stdout", "-u", "frr", "-g", "frr", "-P", "0"}
		if name == "bfdd" {
			args = append(args, "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
		}
		if err := r.start(name, args...); err != nil {
			return err
		}
		if name != "zebra" {
			continue
		}
		if err := r.cluster.Wait(ctx, "zebra", func() bool { _, err := os.Stat(filepath.Join(r.dir, "zserv")); return err == nil }); err != nil {
			return err
		}
	}
	return nil
}
