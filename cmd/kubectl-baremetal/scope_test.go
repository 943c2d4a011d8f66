package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// Beside another provider, a configuration must be judged by the Services of this one.
func TestCheckConfigTakesTheServicesOfTheClusterManager(t *testing.T) {
	service := func(name string, class *string) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer, LoadBalancerClass: class, IPFamilies: []v1.IPFamily{v1.IPv4Protocol}, Ports: []v1.ServicePort{{Port: 80}},
		}}
	}
	metal := "example.com/metal"
	for name, test := range map[string]struct {
		args     []string // of the cluster manager; nil for none
		own      []string // flags of the plugin
		forbid   bool
		want, no string
	}{
		"a class of its own":      {[]string{"--load-balancer-class=example.com/metal", "--default-load-balancer=false"}, nil, false, "shop/metal waits, and would get", "shop/plain"},
		"the flags of the plugin": {[]string{"--load-balancer-class=example.com/metal", "--default-load-balancer=false"}, []string{"--load-balancer-class=lb.baremetal/other"}, false, "shop/plain waits, and would get", "shop/metal"},
		"the defaults":            {[]string{}, nil, false, "shop/plain waits, and would get", "shop/metal"},
		"no cluster manager":      {nil, nil, false, "Which Services the cluster manager serves is not known: there is no cluster manager in namespace baremetal-system.", "shop/metal"},
		"no right":                {[]string{}, nil, true, "is not known: listing the pods of namespace baremetal-system: no right. The result is about those without a class and with the class lb.baremetal/default", "shop/metal"},
	} {
		objects := []runtime.Object{service("plain", nil), service("metal", &metal)}
		if test.args != nil {
			objects = append(objects, programPod("ccm", "node1", managerProgram, test.args...))
		}
		client := fake.NewClientset(objects...)
		if test.forbid {
			client.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("no right") })
		}
		o, _ := testOptions()
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		o.addFlags(flags)
		if err := flags.Parse(test.own); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		c := &checker{options: o, format: formatText, cluster: true, client: client}
		if err := c.run(context.Background(), strings.NewReader(good), &out, []string{"-"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text := out.String(); !strings.Contains(text, test.want) || strings.Contains(text, test.no) {
			t.Errorf("%s: printed\n%s", name, text)
		}
	}
}
