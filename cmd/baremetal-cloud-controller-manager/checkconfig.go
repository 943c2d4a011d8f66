package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const checkConfigName = "check-config"

const checkConfigHelp = `Checks a configuration and prints every error with its line. FILE is the path of the
configuration, or of the manifest of the ConfigMap. It can be - for the standard input.
The exit status is 0 if the configuration is valid, and 1 if it is not valid or cannot
be checked.

With --kubeconfig it also prints the effect of the configuration on the Services that
are in the cluster now. It changes nothing in the cluster.`

// checkConfigCommand returns the subcommand check-config. It is not a subcommand of
// upstream's command, because it would inherit all flags of that command.
func checkConfigCommand() *cobra.Command {
	scope := service.DefaultScope()
	var kubeconfig string
	command := &cobra.Command{
		Use:  "baremetal-cloud-controller-manager " + checkConfigName + " FILE",
		Long: checkConfigHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			return checkConfig(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args[0], kubeconfig, scope)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig of the cluster whose Services are checked.")
	scope.AddFlags(command.Flags())
	return command
}

func checkConfig(ctx context.Context, in io.Reader, out io.Writer, file, kubeconfig string, scope service.Scope) error {
	text, err := readFile(in, file)
	if err != nil {
		return err
	}
	if text, err = configmap.Text(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	c, err := config.Parse(text)
	if list, ok := errors.AsType[config.Errors](err); ok {
		fmt.Fprintln(out, err)
		return fmt.Errorf("%s is not valid: errors: %d", file, len(list))
	}
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(out, "warning: %v\n", w)
	}
	fmt.Fprintf(out, "%s is valid: %s\n", file, cloudprovider.Summary(c))
	if kubeconfig == "" {
		return nil
	}
	client, err := clientFor(kubeconfig)
	if err != nil {
		return err
	}
	p, err := cloudprovider.PreviewIn(ctx, client, scope, c)
	if err != nil {
		return err
	}
	printPreview(out, p)
	return nil
}

func readFile(in io.Reader, file string) ([]byte, error) {
	if file == "-" {
		text, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("reading the standard input: %w", err)
		}
		return text, nil
	}
	return os.ReadFile(file)
}

func clientFor(kubeconfig string) (kubernetes.Interface, error) {
	rest, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig %s: %w", kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("using --kubeconfig %s: %w", kubeconfig, err)
	}
	return client, nil
}

func printPreview(out io.Writer, p cloudprovider.Preview) {
	fmt.Fprintln(out, "In this cluster:")
	for _, e := range p.Effects {
		fmt.Fprintf(out, "  %s %s\n", e.Service, e.Text)
	}
	fmt.Fprintf(out, "  no change for %d Services\n", p.Unchanged)
	for _, u := range p.Usage {
		fmt.Fprintf(out, "  pool %q, %s: %d of %d in use\n", u.Pool, u.Family, u.Used, u.Usable)
	}
}
