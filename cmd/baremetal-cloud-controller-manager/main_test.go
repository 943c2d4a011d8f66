package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
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

func TestLogFormatIsUpstreamsLoggingFormat(t *testing.T) {
	opts, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		t.Fatal(err)
	}
	own := cliflag.NamedFlagSets{}
	command := app.NewCloudControllerManagerCommand(opts, nil, nil, names.CCMControllerAliases(), own, wait.NeverStop)
	addLogFormat(command, own.FlagSet("baremetal"))
	flags := command.Flags()
	if f := own.FlagSet("baremetal").Lookup("log-format"); f == nil || f.DefValue != "text" {
		t.Errorf("the flag in the help is %+v", f)
	}
	if err := flags.Parse([]string{"--log-format=json"}); err != nil || flags.Lookup("logging-format").Value.String() != "json" {
		t.Errorf("--logging-format is %s (%v)", flags.Lookup("logging-format").Value, err)
	}
}

// A release has a version like 0.1.0, and not the one of Kubernetes.
func TestLogsCanBeJSONInARelease(t *testing.T) {
	gate := featuregate.NewVersionedFeatureGate(version.MustParse("0.1.0"))
	if err := logsapi.AddFeatureGates(gate); err != nil {
		t.Fatal(err)
	}
	c := logsapi.NewLoggingConfiguration()
	c.Format = logsapi.JSONLogFormat
	if errs := logsapi.Validate(c, gate, nil); len(errs) == 0 {
		t.Error("upstream accepts JSON logs in a program of the version 0.1.0: the test checks nothing")
	}
	if err := useFeaturesOfKubernetes(gate); err != nil {
		t.Fatal(err)
	}
	if errs := logsapi.Validate(c, gate, nil); len(errs) > 0 {
		t.Error(errs)
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
