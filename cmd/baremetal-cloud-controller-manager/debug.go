package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/serve"
)

// withDebugPages returns a function that runs a command, and serves the pages at an address until
// the command has ended. The address is read when the command runs; with an empty one nothing is
// served. The leader serves them, and so do the cluster managers that wait.
func withDebugPages(run func(*cobra.Command, []string) error, address *string, pages http.Handler, log *slog.Logger) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if *address == "" {
			return run(command, args)
		}
		server, err := serve.New(serve.Options{Name: "debug", Address: *address, Handler: pages, Rejected: func(string) {}, Log: log})
		if err != nil {
			return fmt.Errorf("serving debug pages (--debug-address): %w", err)
		}
		if tcp, ok := server.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			log.Warn("the debug pages can be read from other hosts", "address", tcp, "hint", "set --debug-address to an address of the loopback interface")
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := server.Run(ctx); err != nil {
				log.Error("serving HTTP failed", "error", err)
			}
		}()
		defer func() { stop(); <-ended }()
		return run(command, args)
	}
}
