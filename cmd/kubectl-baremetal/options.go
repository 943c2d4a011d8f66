package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// options are what all commands share: how to reach the cluster, and which Services are served.
type options struct {
	genericiooptions.IOStreams
	// kube are kubectl's own flags: --kubeconfig, --context, --namespace, ….
	kube *genericclioptions.ConfigFlags
	// configMap is the ConfigMap with the pools. Its namespace is that of the product.
	configMap configmap.Ref
	// scope says which Services are served. It must be the same as the cluster manager's.
	scope service.Scope
}

func newOptions(streams genericiooptions.IOStreams) *options {
	return &options{IOStreams: streams, kube: genericclioptions.NewConfigFlags(true), configMap: configmap.DefaultRef, scope: service.DefaultScope()}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	o.kube.AddFlags(flags)
	flags.Var(&o.configMap, "config-map", "The ConfigMap with the pools of addresses, in its key "+configmap.Key+".")
	o.scope.AddFlags(flags)
}

// client returns a client of the cluster with the rights of the caller, and its configuration.
func (o *options) client() (kubernetes.Interface, *rest.Config, error) {
	config, err := o.kube.ToRESTConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "kubectl-baremetal"))
	if err != nil {
		return nil, nil, fmt.Errorf("using the kubeconfig: %w", err)
	}
	return client, config, nil
}
