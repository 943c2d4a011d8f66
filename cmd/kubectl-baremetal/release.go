package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
)

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

const releaseExample = `  # Print what would be removed
  kubectl baremetal release

  # Remove it
  kubectl baremetal release --yes`

func releaseCommand(o *options) *cobra.Command {
	var keep, yes bool
	command := &cobra.Command{
		Use:     "release",
		Short:   "Remove what was written to Services, after an uninstallation",
		Long:    releaseHelp,
		Example: releaseExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := o.client()
			if err != nil {
				return err
			}
			released, err := cloudprovider.Release(cmd.Context(), client, o.scope, keep, !yes)
			for _, r := range released { // with an error, these were changed before it
				fmt.Fprintf(o.Out, "%s: %s\n", r.Service, r.Done)
			}
			switch {
			case err != nil:
			case len(released) == 0:
				fmt.Fprintln(o.Out, "No Service has a finalizer, an address or a condition of this project.")
			case !yes:
				fmt.Fprintf(o.Out, "Nothing has been done. To do this to %s, add --yes.\n", services(len(released)))
			}
			return err
		},
	}
	command.Flags().BoolVar(&yes, "yes", false, "Do it. Without this flag, only print what would be done.")
	command.Flags().BoolVar(&keep, "keep-addresses", false, "Keep the addresses in the status, so that another load balancer can adopt them.")
	return command
}
