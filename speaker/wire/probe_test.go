package wire

import (
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
)

// prober asks the kernel of the router's namespace.
type prober struct {
	*probe.Prober
	t testing.TB
}

func startProber(t testing.TB) prober {
	t.Helper()
	p := probe.New(probe.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	t.Cleanup(run(t, p.Run))
	return prober{p, t}
}

func (r *router) target(local, remote netip.Addr) probe.Target {
	r.t.Helper()
	out, err := r.in("ip", "-oneline", "link", "show", "node").Output()
	if err != nil {
		r.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(out), "link/ether ")
	mac, _, _ := strings.Cut(after, " ")
	return probe.Target{Link: "router-0", Local: local, Remote: remote, MAC: [6]byte(hw(r.t, mac))}
}

// answers asks several times, and reports whether an answer comes.
func (p prober) answers(t probe.Target) (answered bool) {
	p.t.Helper()
	for range 40 {
		p.Probe([]probe.Target{t})
		time.Sleep(5 * time.Millisecond) // the pace of the probes; the answer comes at once
		p.Answers(func(_ time.Time, from probe.Target) { answered = answered || from == t })
		if answered {
			return true
		}
	}
	return false
}

func TestKernelAnswersProbesOfBothFamilies(t *testing.T) {
	r, p := wireRouter(t, 0), startProber(t)
	for _, target := range []probe.Target{r.target(r.node4, r.addr4), r.target(r.node6, r.addr6)} {
		if !p.answers(target) {
			t.Errorf("%s does not answer", target.Remote)
		}
		wrong := target
		wrong.MAC[5] ^= 1
		if p.answers(wrong) {
			t.Errorf("%s answers at a MAC address that it does not have", target.Remote)
		}
		stranger := target
		stranger.Remote = target.Remote.Next().Next()
		if p.answers(stranger) {
			t.Errorf("%s answers, which no host has", stranger.Remote)
		}
	}
}

func TestProbesFollowTheLink(t *testing.T) {
	r, p := wireRouter(t, 0), startProber(t)
	target := r.target(r.node4, r.addr4)
	if !p.answers(target) {
		t.Fatal("no answer at first")
	}
	r.run("ip", "link", "set", "node", "down")
	if p.answers(target) {
		t.Error("a kernel whose link is down answers")
	}
	r.run("ip", "link", "set", "node", "up")
	eventually(t, "an answer after the other end was down", func() bool { return p.answers(target) })
	ip(t, "link set router-0 down")
	if p.answers(target) {
		t.Error("an answer comes over a link that is down")
	}
	ip(t, "link set router-0 address 02:00:00:00:00:33")
	ip(t, "link set router-0 up")
	eventually(t, "an answer after this end was down and has another MAC address", func() bool { return p.answers(target) })
	if err := exec.Command("ip", "link", "del", "router-0").Run(); err != nil {
		t.Fatal(err)
	}
	if p.answers(target) {
		t.Error("an answer comes over a link that is gone")
	}
}

// A kernel may be told not to answer ARP.
func TestSilentKernelIsNoError(t *testing.T) {
	r, p := wireRouter(t, 0), startProber(t)
	r.run("sh", "-c", "echo 8 >/proc/sys/net/ipv4/conf/node/arp_ignore")
	if p.answers(r.target(r.node4, r.addr4)) {
		t.Error("an answer comes although arp_ignore is 8")
	}
	r.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/node/arp_ignore")
	if !p.answers(r.target(r.node4, r.addr4)) {
		t.Error("no answer with arp_ignore 1, which answers for the link's own addresses")
	}
}
