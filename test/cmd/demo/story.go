package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// story is a cluster, and the state of the story that the demo shows on it.
type story struct {
	*cluster.Cluster
	ctx  context.Context
	env  cluster.Env
	step int // number of the next title, from 1
	vip  string
}

// tale is a story, with the options of the cluster that it needs.
type tale struct {
	title   string
	about   string // printed when the cluster is up
	cluster cluster.Options
	tell    func(s *story, keep bool) error
	command string // the command with which a user runs this story
}

func shortTale() tale {
	return tale{
		title:   "A bare-metal Kubernetes cluster of four nodes, in network namespaces of this machine",
		about:   "etcd, kube-apiserver, kube-controller-manager and kube-proxy are the real programs.",
		cluster: cluster.Options{Speakers: 3, Pools: "-"},
		command: "make demo",
		tell: func(s *story, _ bool) error {
			for _, chapter := range []func() error{s.pending, s.install, s.page, s.death} {
				if err := chapter(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// on starts a cluster and shows the story on it. If keep is set, the cluster stays up
// until this process gets a signal.
func (t tale) on(ctx context.Context, env cluster.Env, keep bool) error {
	s := &story{ctx: ctx, env: env, step: 1, vip: "192.168.120.200"}
	s.title(t.title)
	start := time.Now()
	c, err := cluster.Start(ctx, env, t.cluster)
	if err != nil {
		return err
	}
	defer c.Close()
	s.Cluster = c
	s.say("%s", t.about)
	s.say("The cluster was up after %.0f s.", time.Since(start).Seconds())
	if err := t.tell(s, keep); err != nil {
		return err
	}
	if keep {
		return s.keepUp()
	}
	s.title("The end")
	s.say("The cluster and its namespaces are removed now. `%s KEEP=1` keeps them up, so that you can try more.", t.command)
	return nil
}

func (s *story) pending() error {
	s.title("Without this project, a Service of type LoadBalancer gets no address")
	if err := s.kubectl("get", "nodes"); err != nil {
		return err
	}
	if err := s.kubectl("create", "deployment", "nginx", "--image=nginx"); err != nil {
		return err
	}
	s.say("(This cluster has no kubelets, so the pod does not run nginx. It is a small web server in the namespace of its node.)")
	if err := s.kubectl("expose", "deployment", "nginx", "--port", "80", "--type", "LoadBalancer"); err != nil {
		return err
	}
	if err := s.Wait(s.ctx, "the pod", func() bool {
		out, err := s.Kubectl(s.ctx, "get", "deployment", "nginx", "-o", "jsonpath={.status.readyReplicas}")
		return err == nil && out == "1"
	}); err != nil {
		return err
	}
	if err := s.kubectl("get", "service", "nginx"); err != nil {
		return err
	}
	s.say("EXTERNAL-IP stays <pending>, because no program in this cluster assigns addresses.")
	return nil
}

func (s *story) install() error {
	s.title("Start this project's two programs, and configure a pool of addresses")
	s.say("baremetal-cloud-controller-manager assigns addresses. It runs twice, and one of the two is the leader.")
	s.say("baremetal-speaker announces addresses. It runs on node1, node2 and node3.")
	s.say("Both programs have exactly the rights that manifests/ gives them.")
	if err := s.Deploy(s.ctx, 2); err != nil {
		return err
	}
	s.say("This is the configuration:")
	for line := range strings.Lines(cluster.DefaultPools) {
		fmt.Print("      ", line)
	}
	start := time.Now()
	if err := s.SetPools(s.ctx, cluster.DefaultPools); err != nil {
		return err
	}
	if err := s.Wait(s.ctx, "the address", func() bool {
		var err error
		s.vip, err = s.Kubectl(s.ctx, "get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return err == nil && s.vip != ""
	}); err != nil {
		return err
	}
	s.say("The Service got its address %.0f ms after the configuration was written:", ms(time.Since(start)))
	return s.kubectl("get", "service", "nginx")
}

func (s *story) page() error {
	s.title("A client on the same network segment gets a page")
	node, err := s.owner()
	if err != nil {
		return err
	}
	s.say("The client asks by ARP who has %s. Exactly one node answers: the owner of the address.", s.vip)
	s.say("Its speaker answers. No network interface of any node has the address.")
	fmt.Printf("      %s is at %s, which is %s\n", s.vip, node.MAC, node.Name)
	var page string
	if err := s.Wait(s.ctx, "the page", func() bool {
		page, err = s.Fetch(s.ctx, s.vip)
		return err == nil
	}); err != nil {
		return err
	}
	s.command("curl http://" + s.vip)
	fmt.Print("      ", page)
	return nil
}

func (s *story) death() error {
	s.title("The owner of the address loses power")
	probe, err := s.StartProbe(s.vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	s.say("The client requests the page a hundred times a second, each time on a new connection.")
	if err := s.Wait(s.ctx, "some answers", func() bool { return len(probe.Attempts(time.Time{})) >= 100 }); err != nil {
		return err
	}
	node, err := s.owner()
	if err != nil {
		return err
	}
	s.say("Now the link of %s goes down. For the other nodes this looks like a power failure.", node.Name)
	death := time.Now()
	if err := node.Kill(); err != nil {
		return err
	}
	var outage time.Duration
	var lost int
	if err := s.Wait(s.ctx, "an answer", func() (ok bool) {
		outage, lost, ok = probe.Recovered(death)
		return ok
	}); err != nil {
		return err
	}
	heir, err := s.owner()
	if err != nil {
		return err
	}
	s.say("%s has taken over: %s is at %s now.", heir.Name, s.vip, heir.MAC)
	s.say("The client got no page for %.0f ms: %d requests failed.", ms(outage), lost)
	s.command("curl http://" + s.vip)
	page, err := s.Fetch(s.ctx, s.vip)
	if err != nil {
		return err
	}
	fmt.Print("      ", page)
	if err := s.kubectl("get", "events", "--field-selector", "involvedObject.name=nginx,reason=Announced", "-o", "custom-columns=EVENT:.message"); err != nil {
		return err
	}
	if err := node.Revive(); err != nil {
		return err
	}
	if err := s.Settled(s.ctx); err != nil {
		return err
	}
	s.say("The link of %s is up again, and every speaker sees all other speakers.", node.Name)
	return nil
}

// keepUp prints how to enter the cluster, and keeps it up until `make demo-down`.
func (s *story) keepUp() error {
	enter, err := s.HowToEnter(s.vip)
	if err != nil {
		return err
	}
	s.title("The cluster stays up")
	fmt.Print(enter, "\n  # stop the cluster:\n  make demo-down\n\n")
	if err := os.WriteFile(told(), nil, 0o644); err != nil {
		return err
	}
	return s.StayUp()
}

// owner waits until exactly one node answers ARP for the address, and returns it.
func (s *story) owner() (node *cluster.Node, err error) {
	err = s.Wait(s.ctx, "one owner", func() bool {
		macs, err := s.WhoHas(s.vip, 100*time.Millisecond)
		if err == nil && len(macs) == 1 {
			node = s.NodeByMAC(macs[0])
		}
		return node != nil
	})
	return node, err
}

func (s *story) title(text string) {
	fmt.Printf("\n%d. %s\n\n", s.step, text)
	s.step++
}

func (s *story) say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

func (s *story) command(text string) { fmt.Printf("    $ %s\n", text) }

// kubectl runs kubectl and shows the command and what it prints.
func (s *story) kubectl(args ...string) error {
	s.command("kubectl " + strings.Join(args, " "))
	out, err := s.Kubectl(s.ctx, args...)
	for line := range strings.Lines(out) {
		fmt.Print("      ", line)
	}
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
