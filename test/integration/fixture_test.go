package integration

import (
	"context"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// fixture is a test with the cluster that it runs on.
type fixture struct {
	*testing.T
	cluster *cluster.Cluster
}

// setUp returns the fixture of a test. Every test begins with it.
func setUp(t *testing.T) *fixture {
	t.Helper()
	return &fixture{T: t, cluster: shared}
}

// Run runs a subtest with a fixture of its own.
func (f *fixture) Run(name string, test func(f *fixture)) bool {
	f.Helper()
	return f.T.Run(name, func(t *testing.T) { test(&fixture{T: t, cluster: f.cluster}) })
}

// must ends the test if err is not nil.
func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// eventually waits until ok returns true, for one minute at most.
func (f *fixture) eventually(what string, ok func() bool) {
	f.Helper()
	f.must(f.cluster.Wait(context.Background(), what, ok))
}

// kubectl runs kubectl as administrator and returns its output.
func (f *fixture) kubectl(args ...string) string {
	f.Helper()
	out, err := f.cluster.Kubectl(context.Background(), args...)
	f.must(err)
	return out
}
