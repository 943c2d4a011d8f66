package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
)

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this plugin",
		Example: "  kubectl baremetal version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(o.Out, build.Version())
			return err
		},
	}
}
