package cloudprovider

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// worlds are the configurations of the simulation. The reuse delays are short: a
// chain of Services that wait for each other ends before the simulation looks.
var worlds = []string{
	`[{name: a, protocol: layer2, reuse-delay: 2s, addresses: [10.0.0.1-10.0.0.5]}, {name: b, protocol: layer2, reuse-delay: 2s, addresses: [10.0.1.1-10.0.1.3], auto-assign: false}]`,
	`[{name: a, protocol: layer2, reuse-delay: 2s, addresses: [10.0.0.1-10.0.0.3]}, {name: b, protocol: layer2, reuse-delay: 2s, addresses: [10.0.0.4-10.0.0.5, 10.0.1.1-10.0.1.3], auto-assign: false, requests: none}]`,
	`[{name: b, protocol: layer2, reuse-delay: 2s, addresses: [10.0.0.1-10.0.0.6], max-per-namespace: 2, share-across-namespaces: true}]`,
	`[{name: a, protocol: layer2, reuse-delay: 2s, addresses: [10.0.1.1-10.0.1.3], namespaces: [n1], requests: namespace}, {name: c, protocol: layer2, reuse-delay: 2s, addresses: [10.0.0.2-10.0.0.7]}]`,
}

// simulation is a cluster in simulated time: an API server in memory, a cluster manager
// that is killed from time to time, and a user, an operator and nodes that change things.
type simulation struct {
	t      *testing.T
	rng    *rand.Rand
	client *fake.Clientset
	cloud  *Cloud
	stop   func()

	pools   *config.Config // the last good configuration
	created int
	mu      sync.Mutex
	log     []string        // what was done, for the error
	changed map[string]bool // the Services that the user has changed in this round
	nodes   map[string]bool // the addresses of nodes
	seen    map[string]bool // the addresses that nodes had at any time in this round
	edited  bool            // the configuration was edited in this round
	killed  bool            // the manager was killed in this round
}

func (s *simulation) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf(format+"\nafter\n%s\nwith\n%s", append(args, strings.Join(s.log[max(0, len(s.log)-60):], "\n"), s.describe())...)
}

func (s *simulation) do(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%s "+format, append([]any{time.Now().Format("15:04:05.000")}, args...)...))
}

// Write records a line of the manager's log.
func (s *simulation) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "  "+strings.TrimSpace(string(line)))
	return len(line), nil
}

func (s *simulation) startManager() {
	c := newCloud(Options{ConfigMap: configmap.DefaultRef, Scope: service.DefaultScope(), Log: slog.New(slog.NewTextHandler(s, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	c.Initialize(builder{s.client}, ctx.Done())
	factory := informers.NewSharedInformerFactory(s.client, 0)
	c.SetInformers(factory)
	factory.StartWithContext(ctx)
	ended := make(chan struct{})
	go func() { c.RunPoolController(ctx); close(ended) }()
	s.cloud = c
	s.stop = func() { cancel(); factory.Shutdown(); <-ended }
}

func (s *simulation) services() []*v1.Service {
	list, err := s.client.CoreV1().Services("").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []*v1.Service
	for i := range list.Items {
		if list.Items[i].Annotations == nil {
			list.Items[i].Annotations = map[string]string{}
		}
		all = append(all, &list.Items[i])
	}
	slices.SortFunc(all, olderFirst)
	return all
}

func (s *simulation) pick(texts ...string) string { return texts[s.rng.IntN(len(texts))] }

func (s *simulation) randomAddress() string {
	return s.pick("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.1.1", "10.0.1.2", "10.0.1.3")
}

func (s *simulation) create() {
	s.created++
	name := fmt.Sprint("s", s.created)
	svc := classed(svc(name, 0), service.DefaultClass)
	svc.Namespace, svc.UID = s.pick("n0", "n1", "n2"), types.UID("uid-"+name)
	svc.Spec.Ports = []v1.ServicePort{{Protocol: v1.ProtocolTCP, Port: int32(80 + s.rng.IntN(2))}}
	svc.Annotations = map[string]string{}
	s.annotate(svc)
	if _, err := s.client.CoreV1().Services(svc.Namespace).Create(context.Background(), svc, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.changed[service.Name(svc)] = true
	s.do("create %s %v", service.Name(svc), svc.Annotations)
}

// annotate gives svc random wishes.
func (s *simulation) annotate(svc *v1.Service) {
	set := func(key, value string) {
		if delete(svc.Annotations, key); value != "" {
			svc.Annotations[key] = value
		}
	}
	switch s.rng.IntN(5) {
	case 0:
		set(service.PoolAnnotation, s.pick("", "a", "b", "c"))
	case 1:
		set(service.ShareAnnotation, s.pick("", "k", "k", "l"))
	case 2:
		set(service.AddressesAnnotation, s.randomAddress())
	case 3:
		set(service.AddressesAnnotation, "")
	case 4:
		svc.Spec.Ports[0].Port = int32(80 + s.rng.IntN(2))
	}
}

func (s *simulation) update(svc *v1.Service, what string) {
	s.do("%s %s: port %d %v", what, service.Name(svc), svc.Spec.Ports[0].Port, svc.Annotations)
	s.changed[service.Name(svc)] = true
	if _, err := s.client.CoreV1().Services(svc.Namespace).Update(context.Background(), svc, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// remove deletes a Service as the API server does: the object goes when its finalizers
// are gone.
func (s *simulation) remove(svc *v1.Service) {
	s.do("delete %s", service.Name(svc))
	svc.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if len(svc.Finalizers) > 0 {
		if _, err := s.client.CoreV1().Services(svc.Namespace).Update(context.Background(), svc, metav1.UpdateOptions{}); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	s.purge(svc)
}

func (s *simulation) purge(svc *v1.Service) {
	if err := s.client.CoreV1().Services(svc.Namespace).Delete(context.Background(), svc.Name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// swap makes two or three Services ask for each other's addresses.
func (s *simulation) swap(all []*v1.Service) {
	var ring []*v1.Service
	for _, i := range s.rng.Perm(len(all)) {
		if len(ring) < 2+s.rng.IntN(2) && all[i].DeletionTimestamp == nil && len(service.VIPs(all[i])) > 0 {
			ring = append(ring, all[i])
		}
	}
	for i, svc := range ring {
		next := ring[(i+1)%len(ring)]
		svc.Annotations[service.AddressesAnnotation] = service.VIPs(next)[0].String()
		delete(svc.Annotations, service.PoolAnnotation)
	}
	for _, svc := range ring {
		s.update(svc, "swap")
	}
}

func (s *simulation) configure(text string) {
	s.do("configure %.60s", text)
	s.edited = true
	api := s.client.CoreV1().ConfigMaps("baremetal-system")
	if text == "" {
		_ = api.Delete(context.Background(), "config", metav1.DeleteOptions{}) // it may be deleted already
		return
	}
	if c, err := config.Parse([]byte(text)); err == nil {
		s.pools = c
	}
	if _, err := api.Update(context.Background(), pools(text), metav1.UpdateOptions{}); err != nil {
		if _, err := api.Create(context.Background(), pools(text), metav1.CreateOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *simulation) toggleNode() {
	addr := s.randomAddress()
	nodes := s.client.CoreV1().Nodes()
	if s.nodes[addr] {
		s.do("the node with %s goes", addr)
		delete(s.nodes, addr)
		if err := nodes.Delete(context.Background(), "node-"+addr, metav1.DeleteOptions{}); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	if len(s.nodes) == 3 {
		return
	}
	s.do("a node with %s comes", addr)
	s.nodes[addr], s.seen[addr] = true, true
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + addr}, Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
		{Type: v1.NodeHostName, Address: "node"}, {Type: v1.NodeExternalIP, Address: addr}}}}
	if _, err := nodes.Create(context.Background(), node, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// step does one random thing. restarted says that the manager was replaced in this round.
func (s *simulation) step() {
	all := s.services()
	var some *v1.Service
	if len(all) > 0 {
		some = all[s.rng.IntN(len(all))]
	}
	switch op := s.rng.IntN(100); {
	case op < 25 && len(all) < 12 || some == nil:
		s.create()
	case some.DeletionTimestamp != nil:
	case op < 40:
		s.remove(some)
	case op < 65:
		s.annotate(some)
		s.update(some, "edit")
	case op < 75:
		s.swap(all)
	case op < 82:
		s.toggleNode()
	case op < 90:
		s.configure("address-pools: " + worlds[s.rng.IntN(len(worlds))])
	case op < 93:
		<-s.cloud.adopted // else the last good configuration may be one that no manager has seen
		s.configure(s.pick("", "address-pools: [{name: a", "address-pools: [{name: broken, protocol: layer9}]"))
	default:
		if s.edited {
			time.Sleep(2 * publishEvery) // the next manager knows only what this one has published
		}
		s.do("the manager is killed")
		s.killed = true
		s.stop()
		s.startManager()
	}
}

// settle lets time pass until everything that waits for time has happened.
func (s *simulation) settle() {
	time.Sleep(45 * time.Second)
	synctest.Wait()
	for _, svc := range s.services() {
		if svc.DeletionTimestamp == nil {
			continue
		}
		if len(svc.Finalizers) > 0 {
			s.fatalf("%s is still being deleted", service.Name(svc))
		}
		s.purge(svc)
	}
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func TestTwoHoursOfRandomChangesLeaveNothingWrong(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{t: t, rng: rand.New(rand.NewPCG(seed, 3)), client: fake.NewSimpleClientset(), nodes: map[string]bool{}, seen: map[string]bool{}}
				s.configure("address-pools: " + worlds[0])
				s.startManager()
				defer func() { s.stop(); time.Sleep(time.Minute) }()
				s.settle() // the first configuration is in use
				had := map[string]string{}
				for end := time.Now().Add(2 * time.Hour); time.Now().Before(end); {
					s.changed, s.seen, s.edited, s.killed = map[string]bool{}, maps.Clone(s.nodes), false, false
					for range 1 + s.rng.IntN(5) {
						s.step()
						time.Sleep(time.Duration(s.rng.IntN(40)) * time.Millisecond)
					}
					s.settle()
					had = s.check(had)
				}
			})
		})
	}
}
