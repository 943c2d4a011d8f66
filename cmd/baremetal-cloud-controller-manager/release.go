package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const releaseName = "release"

const releaseHelp = `Takes back what this project has written into Services, after it was deleted from
the cluster: the finalizers, without which the Services cannot be deleted, and the
addresses in their status. The Services themselves stay.

It does nothing while a cloud controller manager runs, which would put everything
back.`

// releaseCommand is the subcommand release.
func releaseCommand() *cobra.Command {
	scope := service.DefaultScope()
	var kubeconfig, namespace string
	var keep bool
	command := &cobra.Command{
		Use:  "baremetal-cloud-controller-manager " + releaseName,
		Long: releaseHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			if kubeconfig == "" {
				return errors.New("--kubeconfig is not set")
			}
			client, err := clientFor(kubeconfig)
			if err != nil {
				return err
			}
			n := 0
			err = cloudprovider.Release(cmd.Context(), client, scope, namespace, keep, func(name, done string) {
				n++
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, done)
			})
			if err == nil && n == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "No Service has anything of this project.")
			}
			return err
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig of the cluster.")
	command.Flags().StringVar(&namespace, "namespace", configmap.DefaultRef.Namespace, "The namespace in which the cloud controller manager ran.")
	command.Flags().BoolVar(&keep, "keep-addresses", false, "Leave the addresses in the status, for another load balancer to adopt.")
	scope.AddFlags(command.Flags())
	return command
}
