// Command burst creates many Services at once on a real API server. It measures how long
// they wait for their addresses, and the CPU time that the cloud controller manager uses.
// hack/bench-burst runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const pools = "address-pools:\n- {name: big, protocol: layer2, addresses: [10.64.0.0/16]}\n"

func main() {
	services := flag.Int("services", 1000, "number of Services to create")
	waiting := flag.Bool("waiting", false, "give the Services no address, and count the write requests of the cloud controller manager")
	conditions := flag.Bool("conditions", false, "run a speaker, too, and count how often each Service is written")
	clients := flag.Int("clients", 20, "number of clients that create Services, each as fast as it can")
	flag.Parse()
	os.Exit(cluster.Main(cluster.Needs{}, func(env cluster.Env) int {
		do := measure
		if *waiting {
			do = measureWaiting
		}
		if *conditions {
			do = measureConditions
		}
		if err := do(context.Background(), env, *services, *clients); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

// measure creates Services that all get an address, and prints how long that takes.
func measure(ctx context.Context, env cluster.Env, services, clients int) error {
	c, ccm, err := start(ctx, env, pools)
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := ccm.CPU()
	if err != nil {
		return err
	}
	fmt.Printf("%d Services, %d clients, %d CPUs, %s\n", services, clients, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if err := burst(ctx, c.Client, "burst", services, clients, func(text string) { fmt.Println(text) }); err != nil {
		return err
	}
	after, err := ccm.CPU()
	if err != nil {
		return err
	}
	fmt.Printf("CPU time of the cloud controller manager: %v, %v a Service\n", after-before, (after-before)/time.Duration(services))
	return nil
}

// start starts a cluster with one cloud controller manager, and waits until that is the
// leader. It is the leader when the first Service has an address.
func start(ctx context.Context, env cluster.Env, pools string) (*cluster.Cluster, *cluster.Process, error) {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 1, Pools: pools, NoTraffic: true})
	if err != nil {
		return nil, nil, err
	}
	ccm, err := c.StartCCM(ctx)
	if err == nil {
		err = burst(ctx, c.Client, "warm-up", 1, 1, func(string) {})
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, ccm, nil
}

// life is the times of a Service: asked when its creation was requested, made when that
// request was answered, and served when the watch showed its address.
type life struct{ asked, made, served time.Time }

// burst creates Services, waits until all have an address, and reports the times.
func burst(ctx context.Context, client kubernetes.Interface, name string, services, clients int, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	lives := make([]life, services)
	served := make(chan error, 1)
	watch, err := client.CoreV1().Services("default").Watch(ctx, metav1.ListOptions{LabelSelector: "burst=" + name})
	if err != nil {
		return err
	}
	defer watch.Stop()
	go func() {
		left := services
		for e := range watch.ResultChan() {
			s, ok := e.Object.(*v1.Service)
			if !ok || len(s.Status.LoadBalancer.Ingress) == 0 {
				continue
			}
			var i int
			if _, err := fmt.Sscanf(s.Name, name+"-%d", &i); err != nil || !lives[i].served.IsZero() {
				continue
			}
			lives[i].served = time.Now()
			if left--; left == 0 {
				served <- nil
				return
			}
		}
		served <- fmt.Errorf("the watch ended while %d Services had no address", left)
	}()
	began := time.Now()
	if err := create(ctx, client, name, lives, clients); err != nil {
		return err
	}
	made := time.Since(began)
	if err := <-served; err != nil {
		return err
	}
	say(fmt.Sprintf("all created after %v, all with an address after %v", made.Round(time.Millisecond), time.Since(began).Round(time.Millisecond)))
	say(quantiles("from the answer to the creation to the address", lives, func(l life) time.Duration { return max(0, l.served.Sub(l.made)) }))
	say(quantiles("from the request of the creation to the address", lives, func(l life) time.Duration { return l.served.Sub(l.asked) }))
	say(quantiles("the creation itself", lives, func(l life) time.Duration { return l.made.Sub(l.asked) }))
	return nil
}

// create creates a Service for each of lives, with several clients at the same time.
func create(ctx context.Context, client kubernetes.Interface, name string, lives []life, clients int) error {
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for worker := range clients {
		wg.Go(func() {
			for i := worker; i < len(lives); i += clients {
				s := &v1.Service{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, i), Labels: map[string]string{"burst": name}},
					Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, Ports: []v1.ServicePort{{Port: 80}}},
				}
				lives[i].asked = time.Now()
				if _, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
					errs <- err
					return
				}
				lives[i].made = time.Now()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// quantiles returns a line with the median, the 99th percentile and the maximum of a time.
func quantiles(what string, lives []life, of func(life) time.Duration) string {
	var d []time.Duration
	for _, l := range lives {
		d = append(d, of(l))
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[int(q*float64(len(d)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("%-48s p50 %v, p99 %v, max %v", what+":", at(.5), at(.99), at(1))
}
