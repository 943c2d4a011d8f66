package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// story is a cluster and what has been told about it so far.
type story struct {
	*cluster.Cluster
	ctx  context.Context
	env  cluster.Env
	step int // of the story, counted from 1
	vip  string
}

// tale is what is told, and the cluster that it happens on.
type tale struct {
	title   string
	about   string // said when the cluster is up
	cluster cluster.Options
	tell    func(s *story, keep bool) error
	command string // that tells it
}

func shortTale() tale {
	return tale{
		title:   "A bare-metal cluster, in network namespaces of this machine",
		about:   "etcd, kube-apiserver, kube-controller-manager, and a kube-proxy on each of four nodes; all real.",
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

// on tells the tale on a cluster of its own, which is left up at the end for as long
// as this process runs if keep is set.
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
	s.say("%s Up after %.0f s.", t.about, time.Since(start).Seconds())
	if err := t.tell(s, keep); err != nil {
		return err
	}
	if keep {
		return s.leaveUp()
	}
	s.title("The end")
	s.say("The cluster and its namespaces go now. `%s KEEP=1` leaves them up to play with.", t.command)
	return nil
}

func (s *story) pending() error {
	s.title("A Service of type LoadBalancer, as on any bare-metal cluster")
	if err := s.kubectl("get", "nodes"); err != nil {
		return err
	}
	if err := s.kubectl("create", "deployment", "nginx", "--image=nginx"); err != nil {
		return err
	}
	s.say("(A stand-in for nginx: without kubelets, a pod is a small web server in its node's namespace.)")
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
	s.say("EXTERNAL-IP is <pending>, and would be for ever: nobody here gives addresses.")
	return nil
}

func (s *story) install() error {
	s.title("Our two programs, and a pool of addresses")
	s.say("Two baremetal-cloud-controller-managers, one of which leads, and a baremetal-speaker on node1, node2 and node3,")
	s.say("with the rights that manifests/ gives them.")
	if err := s.Deploy(s.ctx, 2); err != nil {
		return err
	}
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
	s.say("The Service that waited has its address %.0f ms after the pool was written:", ms(time.Since(start)))
	return s.kubectl("get", "service", "nginx")
}

func (s *story) page() error {
	s.title("A client on the same network segment")
	node, err := s.owner()
	if err != nil {
		return err
	}
	s.say("It asks by ARP: who has %s? One node answers, though no interface of any node holds the address:", s.vip)
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
	s.title("The node in charge loses power")
	probe, err := s.StartProbe(s.vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	s.say("The client asks for the page a hundred times a second, on a new connection each time.")
	if err := s.Wait(s.ctx, "some answers", func() bool { return len(probe.Attempts(time.Time{})) >= 100 }); err != nil {
		return err
	}
	node, err := s.owner()
	if err != nil {
		return err
	}
	s.say("Now %s falls silent, without a goodbye.", node.Name)
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
	s.say("The client was without an answer for %.0f ms; %d requests were lost.", ms(outage), lost)
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
	s.say("%s is back, and all speakers see each other again.", node.Name)
	return nil
}

// leaveUp tells how to play with the cluster, and keeps it until it is killed.
func (s *story) leaveUp() error {
	kubeconfig, err := s.Expose()
	if err != nil {
		return err
	}
	pid, err := s.env.PID()
	if err != nil {
		return err
	}
	s.title("The cluster stays up")
	fmt.Printf(`
  export KUBECONFIG=%s
  alias kubectl=%s
  kubectl get services -A

  # as the client on the segment (curl, ping, ip neigh, …):
  nsenter --net=/proc/%s/root/run/netns/client curl -s http://%s

  # cut a node's power, and give it back:
  nsenter --net=/proc/%s/ns/net ip link set node1 down
  nsenter --net=/proc/%s/ns/net ip link set node1 up

  # what a speaker thinks, and the logs of all programs:
  nsenter --net=/proc/%s/root/run/netns/node1 curl -s http://127.0.0.1:7472/debug/plan
  ls %s

  # the end:
  make demo-down

`, kubeconfig, s.env.Binaries["kubectl"], pid, s.vip, pid, pid, pid, filepath.Join(s.env.Dir, "logs"))
	if err := os.WriteFile(told(), nil, 0o644); err != nil {
		return err
	}
	select {}
}

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
