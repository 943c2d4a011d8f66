package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
)

const uiHelp = `Serves a page on 127.0.0.1 that shows live what the load balancer does: the nodes with the
addresses that they announce, BGP sessions, pools, what has moved, and the problems of
"status". A click on an address explains it, as "explain" does.

It prints the address of the page. The address contains a secret, so that no other user of
this machine and no other page in the browser can read the data. The page only reads. The
cluster is asked each second while the page is open, or less often if its answers take long,
and not at all while the page is closed.

It reads the API server, and reaches the programs by port-forward, with your rights.`

const uiExample = `  # Serve the page on a free port
  kubectl baremetal ui

  # Serve it on port 8080, for example to forward this port by SSH
  kubectl baremetal ui --port 8080`

// uiInterval is the shortest pause between two looks at the cluster.
const uiInterval = time.Second

func uiCommand(o *options) *cobra.Command {
	var port uint16
	command := &cobra.Command{
		Use:     "ui",
		Short:   "Show live in a browser which node announces which address",
		Long:    uiHelp,
		Example: uiExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, config, err := o.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			source := newUISource(ctx, o, client, portForward{client, config})
			defer source.wait()
			server, err := ui.New(ui.Options{Source: source, Cluster: o.contextName(), Port: port, Interval: uiInterval})
			if err != nil {
				return fmt.Errorf("%w: choose another --port", err)
			}
			fmt.Fprintf(o.Out, "Open this address in a browser on this machine. Ctrl-C ends the page.\n\n  %s\n", server.URL())
			return server.Run(ctx)
		},
	}
	command.Flags().Uint16Var(&port, "port", 0, "Port on 127.0.0.1 that serves the page. 0 means any free port.")
	return command
}

// contextName returns the name of the context of the kubeconfig that is in use; "" if it has none.
func (o *options) contextName() string {
	config, err := o.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	return cmp.Or(*o.kube.Context, config.CurrentContext)
}
