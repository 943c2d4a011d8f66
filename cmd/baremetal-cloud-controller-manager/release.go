package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const releaseName = "release"

const releaseHelp = `Removes what this project has written to Services, after this project was deleted
from the cluster: the finalizers, which block the deletion of the Services, and the
addresses and conditions in their status. The Services themselves stay.

Without --yes it only prints what it would do. --default-load-balancer and
--load-balancer-class must have the same values as for the cloud controller manager:
in a cluster with another provider, Services without a class may belong to that
provider. It refuses to run while a cloud controller manager runs, because the cloud
controller manager would write everything again. It also refuses while the admission
policy exists, because the API server would refuse the changes.`

// services returns the number with its noun.
func services(n int) string {
	if n == 1 {
		return "1 Service"
	}
	return fmt.Sprintf("%d Services", n)
}

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
				return errors.New("--kubeconfig is not set: set it to the path of a kubeconfig of the cluster")
			}
			client, err := clientFor(kubeconfig)
			if err != nil {
				return err
			}
			released, err := cloudprovider.Release(cmd.Context(), client, scope, keep, !yes)
			for _, r := range released { // with an error, these were changed before it
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", r.Service, r.Done)
			}
			switch {
			case err != nil:
			case len(released) == 0:
				fmt.Fprintln(cmd.OutOrStdout(), "No Service has a finalizer, an address or a condition of this project.")
			case !yes:
				fmt.Fprintf(cmd.OutOrStdout(), "Nothing has been done. To do this to %s, add --yes.\n", services(len(released)))
			}
			return err
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig of the cluster.")
	command.Flags().BoolVar(&yes, "yes", false, "Do it. Without this flag, only print what would be done.")
	command.Flags().BoolVar(&keep, "keep-addresses", false, "Keep the addresses in the status, so that another load balancer can adopt them.")
	scope.AddFlags(command.Flags())
	return command
}
