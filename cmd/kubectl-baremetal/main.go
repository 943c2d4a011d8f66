// Command kubectl-baremetal is the plugin of kubectl for operators of this load balancer.
// It shows what the cluster manager and the speakers do, and says what to do about problems.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if err := rootCommand(streams).ExecuteContext(ctx); err != nil {
		if text := err.Error(); text != "" { // else the command has printed what is wrong
			fmt.Fprintln(os.Stderr, "error:", text)
		}
		os.Exit(exitCode(err))
	}
}

// rootCommand returns the command with all its subcommands.
func rootCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := newOptions(streams)
	command := &cobra.Command{
		Use:           "kubectl-baremetal",
		Short:         "Shows what the load balancer does, and explains problems",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl baremetal"},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	o.addFlags(command.PersistentFlags())
	command.SetIn(streams.In)
	command.SetOut(streams.Out)
	command.SetErr(streams.ErrOut)
	command.AddCommand(statusCommand(o), explainCommand(o), traceCommand(o), captureCommand(o), simulateCommand(o), editCommand(o), checkConfigCommand(o), convertCommand(o), releaseCommand(o), supportBundleCommand(o), uiCommand(o), versionCommand(o))
	return command
}

// exitError is an error with the exit status of the program.
type exitError struct {
	error
	status int
}

func (e exitError) Unwrap() error { return e.error }

// exitCode returns the exit status for the error of a command: 1 if the error names no other.
func exitCode(err error) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.status
	}
	return 1
}
