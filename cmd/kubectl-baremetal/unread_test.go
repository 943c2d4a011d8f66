package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// forbidding returns a client that may not do something with a resource.
func forbidding(verb string, resources ...string) *fake.Clientset {
	client := fake.NewClientset(clusterObjects()...)
	for _, resource := range resources {
		client.PrependReactor(verb, resource, func(k8stesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("no right")
		})
	}
	return client
}

// A tenant may have the right to see the Services of one namespace only.
func TestExplainReadsTheServiceAloneIfTheListIsForbidden(t *testing.T) {
	for name, test := range map[string]struct {
		verb, arg, want, err string
	}{
		"the right to get it": {"list", "web", "Service default/web", ""},
		"no such Service":     {"list", "nope", "", "there is no Service default/nope"},
		"no right at all":     {"*", "web", "", "the Services could not be read, so nothing is known about default/web: no right"},
		"an address":          {"list", "192.0.2.1", "whether a Service has it is not known", ""},
		"not a Service":       {"list", "pod/web", "", "is no Service"},
	} {
		o, _ := testOptions()
		client := forbidding(test.verb, "services")
		in, err := o.look(context.Background(), client, documentsOf(t))
		if err != nil {
			t.Fatal(err)
		}
		readService(t.Context(), client, in, "default", test.arg)
		e, err := explain(in, "default", test.arg)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v", name, err)
			}
			continue
		}
		var out bytes.Buffer
		if err != nil || exitCodeOf(printExplanation(&out, formatTable, e)) != 1 || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

func TestStatusSaysWhatCouldNotBeRead(t *testing.T) {
	o, _ := testOptions()
	in, err := o.look(context.Background(), forbidding("*", "services", "configmaps"), documentsOf(t))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_ = printStatus(&out, formatTable, diagnose.StatusOf(in))
	if text := out.String(); !strings.HasPrefix(text, "Configuration: ConfigMap baremetal-system/config, could not be read\nServices: could not be read\n") || strings.Contains(text, "Create it") {
		t.Errorf("printed\n%s", text)
	}
}

func TestExplanationSaysThatPodsAndCandidatesAreMissing(t *testing.T) {
	e := &diagnose.Explanation{Services: []diagnose.ServiceExplanation{{
		Endpoints: diagnose.Endpoints{Unknown: true}, Addresses: []diagnose.AddressExplanation{{Protocol: "layer2", Candidates: []string{"node1", "node2"}, CandidatesOmitted: 80}},
	}}}
	var out bytes.Buffer
	if err := printExplanation(&out, formatTable, e); err != nil || !strings.Contains(out.String(), "Ready pods: not known: the EndpointSlices could not be read\n") || !strings.Contains(out.String(), "Candidates: node1, node2 and 80 more nodes\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
