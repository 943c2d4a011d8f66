package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
)

func TestDefaultsAreOurOwnAndCanBeSet(t *testing.T) {
	opts, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		t.Fatal(err)
	}
	setDefaults(opts)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	for _, set := range opts.Flags([]string{names.ServiceLBController}, nil, names.CCMControllerAliases(), nil, nil).FlagSets {
		flags.AddFlagSet(set)
	}
	for name, want := range map[string]string{
		"profiling": "false", "concurrent-service-syncs": "20", "kube-api-qps": "1000", "leader-elect-resource-name": "baremetal-cloud-controller-manager",
	} {
		if f := flags.Lookup(name); f == nil || f.DefValue != want {
			t.Errorf("--%s: %+v, want the default %s", name, f, want)
		}
	}
	if err := flags.Parse([]string{"--profiling=true"}); err != nil || !opts.Generic.Debugging.EnableProfiling {
		t.Errorf("--profiling=true has no effect (%v)", err)
	}
}

func TestOldSubcommandsNameTheNewOnes(t *testing.T) {
	for subcommand, want := range map[string]string{
		"check-config": "kubectl baremetal check-config:", "release": "kubectl baremetal release:", "--cloud-provider=baremetal": "", "help": "",
	} {
		if text := moved(subcommand); (text == "") != (want == "") || !strings.Contains(text, want) {
			t.Errorf("%s: %q", subcommand, text)
		}
	}
}
