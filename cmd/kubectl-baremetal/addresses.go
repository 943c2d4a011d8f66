package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// parseAddress reads the argument of a command.
func parseAddress(arg string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(arg)
	if err != nil {
		return addr, fmt.Errorf("%q is no IP address: write an address of a Service or of a pool", arg)
	}
	return addr.Unmap(), nil
}

// completeAddresses completes the addresses of Services of all namespaces.
func completeAddresses(o *options) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, _, err := o.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), podTimeout)
		defer cancel()
		list, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return addressesOf(list.Items, o.scope), cobra.ShellCompDirectiveNoFileComp
	}
}

// addressesOf returns the addresses of the Services that are served, each with the name of its Service.
func addressesOf(services []v1.Service, scope service.Scope) (completions []string) {
	for i := range services {
		if !scope.Ours(&services[i]) {
			continue
		}
		for _, ingress := range services[i].Status.LoadBalancer.Ingress {
			if ingress.IP != "" {
				completions = append(completions, cobra.CompletionWithDesc(ingress.IP, service.Name(&services[i])))
			}
		}
	}
	return completions
}
