package integration

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// stop stops programs, one after the other.
func stop(processes []*cluster.Process) {
	for _, p := range processes {
		p.Stop()
	}
}

// restartCCMs stops all cloud controller managers that run, and starts two.
func (f *fixture) restartCCMs() {
	f.Helper()
	stop(f.cluster.CCMs())
	for range 2 {
		_, err := f.cluster.StartCCM(context.Background())
		f.must(err)
	}
}

// restartControlPlane starts the API server again, and two new cloud controller
// managers, because those that ran have ended without it. A kubelet would do the same.
func (f *fixture) restartControlPlane() {
	ctx := context.Background()
	f.must(f.cluster.StartAPIServer())
	f.eventually("the API server", func() bool {
		_, err := f.cluster.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil
	})
	f.restartCCMs()
}

// endsWithError waits until a program has ended with an error, and checks that its
// log contains text.
func (f *fixture) endsWithError(p *cluster.Process, text string) {
	f.Helper()
	p.MayEnd()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		p.Kill()
		f.Fatalf("%s still runs:\n%s", p.Name, p.Log())
	}
	if p.ExitCode() == 0 || !strings.Contains(p.Log(), text) {
		f.Errorf("%s ended with exit status %d, want an error with %q in its log:\n%s", p.Name, p.ExitCode(), text, p.Log())
	}
}

// metalLB is MetalLB v0.12.1: its controller, and a speaker on every node.
type metalLB struct{ controller, speakers []*cluster.Process }

// startMetalLB starts MetalLB, and stops it at the end of the test.
func (f *fixture) startMetalLB() *metalLB {
	f.Helper()
	run := func(name, netns string, args ...string) *cluster.Process {
		p, err := f.cluster.Run(name, netns, append(args, "-kubeconfig="+f.cluster.Kubeconfig(), "-namespace=baremetal-system", "-config=config", "-disable-epslices")...)
		f.must(err)
		f.Cleanup(p.Stop)
		return p
	}
	m := &metalLB{controller: []*cluster.Process{run("metallb-controller", "", f.cluster.Binary("metallb-controller"), "-port=17472")}}
	for _, n := range f.cluster.Nodes() {
		m.speakers = append(m.speakers, run("metallb-speaker-"+n.Name, n.Name, f.cluster.Binary("metallb-speaker"), "-node-name="+n.Name, "-host=127.0.0.1"))
	}
	return m
}
