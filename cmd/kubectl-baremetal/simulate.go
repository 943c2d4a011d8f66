package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

const simulateHelp = `Says what would happen if nodes were drained or lost, or with another configuration: which
addresses would move to which nodes, which routes the nodes would withdraw, what would become
of open connections, and which addresses nobody would serve. It changes nothing.

It reads the API server, and asks the speakers by port-forward for the state of their
plans, with your rights. Then it computes the plans of the changed state with the code of the
speakers. So the plugin should have the version of the speakers.

A drained node gets the label node.kubernetes.io/exclude-from-external-load-balancers, and its
pods are evicted, but for those of DaemonSets. Its speaker and its connections go on. A lost
node has no power.

If a speaker on a node that is ready does not answer, if the EndpointSlices cannot be read, or
if the plugin decides in another way than the speakers, the result is incomplete. It is shown,
and the exit status is 2.

The exit status is 0 if everything that is served now would be served, 1 if something would
be served by nobody, and 2 if the result is incomplete, or if nothing could be found out.`

const simulateExample = `  # Before maintenance: what moves if node2 is drained?
  kubectl baremetal simulate --drain node2

  # Does the cluster survive the loss of a rack?
  kubectl baremetal simulate --lose node4 --lose node5

  # What would another configuration do?
  kubectl baremetal simulate --config config.yaml

  # In a script: the addresses that nobody would serve
  kubectl baremetal simulate --lose node2 -o json | jq -r '.addresses[] | select(.unserved).address'`

func simulateCommand(o *options) *cobra.Command {
	var drained, lost []string
	var file, format string
	command := &cobra.Command{
		Use:     "simulate [--drain NODE] [--lose NODE] [--config FILE]",
		Short:   "Say what would move, and what nobody would serve, after a change",
		Long:    simulateHelp,
		Example: simulateExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, restConfig, err := o.client()
			if err != nil {
				return notDone(err)
			}
			s := simulator{o, client, portForward{client, restConfig}}
			r, err := s.run(cmd.Context(), drained, lost, file)
			if err != nil {
				return notDone(err)
			}
			return printSimulation(o.Out, format, r)
		},
	}
	addOutput(command, &format, formatJSON, formatYAML)
	flags := command.Flags()
	flags.StringSliceVar(&drained, "drain", nil, "A node that is drained: it gets the exclude label, and its pods are evicted. Several are allowed.")
	flags.StringSliceVar(&lost, "lose", nil, "A node that dies. Several are allowed.")
	for _, name := range []string{"drain", "lose"} {
		if err := command.RegisterFlagCompletionFunc(name, completeNodes(o)); err != nil {
			panic(err) // the flag exists
		}
	}
	flags.StringVar(&file, "config", "", "A file with another configuration, or with the manifest of the ConfigMap; - for the standard input.")
	return command
}

// completeNodes completes the names of nodes.
func completeNodes(o *options) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		client, _, err := o.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), podTimeout)
		defer cancel()
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for _, node := range list.Items {
			names = append(names, node.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// simulator reads the cluster and simulates changes.
type simulator struct {
	*options
	client kubernetes.Interface
	ports  podPorts
}

// simulation is the result of the command.
type simulation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	simulate.Result
	// Preview is what another configuration would do to the Services; nil without one.
	Preview *preview `json:"preview,omitempty"`
}

// preview is a Preview of the package cloudprovider in the form in which it is printed.
type preview struct {
	Warnings []string `json:"warnings,omitempty"`
	Effects  []string `json:"effects,omitempty"`

	whole cloudprovider.Preview
}

// run simulates a change. file is the one with another configuration; empty for none.
func (s simulator) run(ctx context.Context, drained, lost []string, file string) (*simulation, error) {
	in, err := s.gather(ctx, s.client, s.ports)
	if err != nil {
		return nil, err
	}
	change := simulate.Change{Drained: drained, Lost: lost}
	var p *preview
	if file != "" {
		text, err := readConfiguration(s.options, file)
		if err != nil {
			return nil, err
		}
		if p, err = s.preview(ctx, in.Scope, text); err != nil {
			return nil, err
		}
		if err := addConfiguration(&change, text, p); err != nil {
			return nil, err
		}
	}
	r, err := s.simulate(ctx, in, change)
	if err != nil {
		return nil, err
	}
	return &simulation{debugapi.APIVersion, "Simulation", r, p}, nil
}

// preview returns what a valid configuration would do to the Services.
func (s simulator) preview(ctx context.Context, scope service.Scope, text []byte) (*preview, error) {
	parsed, err := config.Parse(text)
	if err != nil {
		return nil, err
	}
	whole, err := cloudprovider.PreviewIn(ctx, s.client, scope, s.configMap, parsed)
	if err != nil {
		return nil, fmt.Errorf("finding out what the configuration would do to the Services: %w", err)
	}
	p := &preview{Warnings: whole.Warnings, whole: whole}
	for _, e := range whole.Effects {
		p.Effects = append(p.Effects, e.Service+" "+e.Text)
	}
	return p, nil
}

// addConfiguration adds a configuration, and what it would do to the Services, to a change.
func addConfiguration(change *simulate.Change, text []byte, p *preview) error {
	redacted, err := config.Redact(text)
	if err != nil {
		return err
	}
	if change.Config, err = config.Parse(redacted); err != nil {
		return err
	}
	change.Addresses = map[string]simulate.Addresses{}
	for _, m := range p.whole.Moves {
		change.Addresses[m.Service] = simulate.Addresses{Before: m.Before, After: m.After}
	}
	return nil
}

// simulate simulates a change of the cluster.
func (s simulator) simulate(ctx context.Context, in *diagnose.Input, change simulate.Change) (simulate.Result, error) {
	staying, err := podsThatStay(ctx, s.client, change.Drained)
	if err != nil {
		return simulate.Result{}, err
	}
	cluster, err := clusterOf(in, staying, build.Version())
	if err != nil {
		return simulate.Result{}, err
	}
	return simulate.Run(cluster, change)
}
