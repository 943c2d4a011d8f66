package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const releaseName = "release"

const releaseHelp = `Takes back what this project has written into Services, after it was deleted from
the cluster: the finalizers, without which the Services cannot be deleted, and the
addresses in their status. The Services themselves stay.

Without --yes it only says what it would do. --default-load-balancer and
--load-balancer-class must be what they were for the cloud controller manager:
beside another provider, Services without a class may be the other one's. While a
cloud controller manager runs, which would put everything back, it refuses.`

// releaseCommand is the subcommand release.
func releaseCommand() *cobra.Command {
	scope := service.DefaultScope()
	var kubeconfig string
	var keep, yes bool
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
			err = cloudprovider.Release(cmd.Context(), client, scope, keep, !yes, func(name, done string) {
				n++
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, done)
			})
			switch {
			case err != nil:
			case n == 0:
				fmt.Fprintln(cmd.OutOrStdout(), "No Service has anything of this project.")
			case !yes:
				fmt.Fprintf(cmd.OutOrStdout(), "Nothing has been done. To do this to %d Services, add --yes.\n", n)
			}
			return err
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig of the cluster.")
	command.Flags().BoolVar(&yes, "yes", false, "Do it.")
	command.Flags().BoolVar(&keep, "keep-addresses", false, "Leave the addresses in the status, for another load balancer to adopt.")
	scope.AddFlags(command.Flags())
	return command
}
