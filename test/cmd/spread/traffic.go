package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

const udpPort = 5353

// bench is the cluster with the Service that is measured. Its pods are on a node that no fault hits.
type bench struct {
	*cluster.Cluster
	options
	vip string
}

// result is what was measured without spread, or with it.
type result struct {
	segment, routed map[string]int // connections by node
	death           death
	packets         float64 // per second of a CPU of the announcer
	upload          float64 // bytes per second
	download        float64
}

func measureTraffic(ctx context.Context, env cluster.Env, o options) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Deploy(ctx, 1); err != nil {
		return err
	}
	router, err := c.StartRouter(ctx, cluster.RouterOptions{Daemon: "BIRD"})
	if err != nil {
		return err
	}
	defer router.Close()
	if err := c.AddFloodAddresses(); err != nil {
		return err
	}
	b := &bench{Cluster: c, options: o}
	if err := b.expose(ctx); err != nil {
		return err
	}
	var results [2]result
	for i := range results {
		if results[i], err = b.measure(ctx, i == 1); err != nil {
			return fmt.Errorf("spread %v: %w", i == 1, err)
		}
	}
	fmt.Println(header())
	printResults(os.Stdout, o, results[0], results[1])
	return nil
}

// expose starts two web servers and makes a Service for them, with a port of TCP and one of UDP.
func (b *bench) expose(ctx context.Context) (err error) {
	if _, err := b.Kubectl(ctx, "create", "deployment", "web", "--image=web", "--replicas=2"); err != nil {
		return err
	}
	target := intstr.FromInt32(80)
	if _, err := b.Client.CoreV1().Services("default").Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, Ports: []v1.ServicePort{
			{Name: "tcp", Port: 80, TargetPort: target}, {Name: "udp", Protocol: v1.ProtocolUDP, Port: udpPort, TargetPort: target}}},
	}, metav1.CreateOptions{}); err != nil {
		return err
	}
	b.vip, err = deaths.Address(ctx, b.Cluster, "web")
	return err
}

// measure measures everything, without or with spread.
func (b *bench) measure(ctx context.Context, spread bool) (r result, err error) {
	if err := setSpread(ctx, b.Cluster, "web", spread); err != nil {
		return r, err
	}
	if err := b.carriedBy(ctx, map[bool]int{false: 1, true: len(b.Nodes())}[spread]); err != nil {
		return r, err
	}
	if r.segment, err = b.Carried(ctx, cluster.OnSegment, b.vip, "80", b.connections); err != nil {
		return r, err
	}
	if r.routed, err = b.Carried(ctx, cluster.Outside, b.vip, "80", b.connections); err != nil {
		return r, err
	}
	if err := b.throughput(ctx, spread, &r); err != nil {
		return r, err
	}
	r.death, err = b.announcerDies(ctx)
	return r, err
}

// carriedBy waits until n nodes carry the connections of the client.
func (b *bench) carriedBy(ctx context.Context, n int) error {
	return b.Wait(ctx, fmt.Sprint("connections over ", n, " nodes"), func() bool {
		carriers, err := b.Carried(ctx, cluster.OnSegment, b.vip, "80", 40)
		return err == nil && len(carriers) == n
	})
}

// throughput measures what the announcer can take.
func (b *bench) throughput(ctx context.Context, spread bool, r *result) error {
	announcer, err := deaths.Owner(ctx, b.Cluster, b.vip)
	if err != nil {
		return err
	}
	var packets, uploads, downloads []float64
	for range b.rounds {
		n, err := b.packets(ctx, announcer)
		if err != nil {
			return err
		}
		up, err := b.bulk(ctx, announcer, spread, b.Push)
		if err != nil {
			return err
		}
		down, err := b.bulk(ctx, announcer, spread, b.Download)
		if err != nil {
			return err
		}
		packets, uploads, downloads = append(packets, n), append(uploads, up), append(downloads, down)
	}
	r.packets, r.upload, r.download = median(packets), median(uploads), median(downloads)
	return nil
}

// packets returns how many datagrams the announcer takes in a second of CPU: the time of a
// datagram that passes the announcer, less the time of one that does not reach it.
func (b *bench) packets(ctx context.Context, announcer *cluster.Node) (float64, error) {
	without, err := b.FloodRate(ctx, b.vip, udpPort, nil, b.flood)
	if err != nil {
		return 0, err
	}
	through, err := b.FloodRate(ctx, b.vip, udpPort, announcer, b.flood)
	if err != nil {
		return 0, err
	}
	return 1 / (1/through - 1/without), nil
}

// bulk returns the bytes per second of a transfer. With spread it is one that another node than
// the announcer carries.
func (b *bench) bulk(ctx context.Context, announcer *cluster.Node, spread bool, transfer func(context.Context, string, string, int64) (cluster.Transfer, error)) (rate float64, err error) {
	waitErr := b.Wait(ctx, "a transfer over the right node", func() bool {
		var t cluster.Transfer
		t, err = transfer(ctx, cluster.OnSegment, b.vip, b.bytes)
		rate = float64(b.bytes) / t.Took.Seconds()
		return err != nil || (t.Carrier == announcer.Name) != spread
	})
	if err == nil {
		err = waitErr
	}
	return rate, err
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// death is what a client noticed of the death of the announcer.
type death struct {
	goOn   int           // connections
	stall  time.Duration // the longest of them
	outage time.Duration // from the death to the begin of the last new connection that failed
	failed int           // new connections
}

// announcerDies lets the announcer lose its power while connections are open. Then it gives it back, and
// restarts the speakers, so that they forget the death.
func (b *bench) announcerDies(ctx context.Context) (d death, err error) {
	talks, err := b.StartTalks(ctx, cluster.OnSegment, b.vip, b.talks, 100*time.Millisecond)
	if err != nil {
		return d, err
	}
	defer talks.Stop()
	probe, err := b.StartProbe(b.vip)
	if err != nil {
		return d, err
	}
	defer probe.Stop()
	begun := time.Now()
	if err := b.Wait(ctx, "answers on all connections", func() bool { return talks.GoOn(begun, 10) }); err != nil {
		return d, err
	}
	announcer, err := deaths.Owner(ctx, b.Cluster, b.vip)
	if err != nil {
		return d, err
	}
	if err := announcer.Kill(); err != nil {
		return d, err
	}
	died := time.Now()
	if err := b.Wait(ctx, "connections that go on or are lost", func() bool {
		return talks.GoOn(died, 20) && time.Since(died) > 5*time.Second
	}); err != nil {
		return d, err
	}
	d.goOn, d.stall = b.talks-len(talks.Lost()), talks.LongestStall(died)
	for _, a := range probe.Attempts(died) {
		if !a.OK {
			d.failed++
			d.outage = max(d.outage, a.Start.Sub(died))
		}
	}
	if err := announcer.Revive(); err != nil {
		return d, err
	}
	return d, b.restartSpeakers(ctx)
}

func (b *bench) restartSpeakers(ctx context.Context) error {
	for _, n := range b.Nodes() {
		n.Speaker().Stop()
		if err := n.StartSpeaker(ctx); err != nil {
			return err
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return b.Settled(ctx)
}
