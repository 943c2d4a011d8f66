// Command baremetal-cloud-controller-manager is the upstream cloud controller manager with
// the provider "baremetal". It gives Services of type LoadBalancer addresses from pools.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	upstream "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
	"k8s.io/component-base/cli"
	cliflag "k8s.io/component-base/cli/flag"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the API client and the leader election
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric kubernetes_build_info
	genericcontrollermanager "k8s.io/controller-manager/app"
	"k8s.io/controller-manager/controller"
	"k8s.io/klog/v2"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func main() {
	if len(os.Args) > 1 {
		if text := moved(os.Args[1]); text != "" {
			fmt.Fprintln(os.Stderr, text)
			os.Exit(2)
		}
	}
	opts, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		klog.ErrorS(err, "creating the default options failed")
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
	setDefaults(opts)

	provider := cloudprovider.Options{
		ConfigMap:   configmap.DefaultRef,
		Scope:       service.DefaultScope(),
		SpeakerPort: cloudprovider.DefaultSpeakerPort,
		Log:         slog.New(logr.ToSlogHandler(klog.Background())),
	}
	flags := cliflag.NamedFlagSets{}
	flags.FlagSet("baremetal").Var(&provider.ConfigMap, "config-map", "The ConfigMap with the pools of addresses, in its key "+configmap.Key+".")
	provider.Scope.AddFlags(flags.FlagSet("baremetal"))
	flags.FlagSet("baremetal").BoolVar(&provider.ReportDeadNodes, "report-dead-nodes", false, "Set the pods of a node to not ready as soon as the speakers say that its kernel is dead. Needs the rights and the admission policy of manifests/report-dead-nodes.")
	flags.FlagSet("baremetal").Uint16Var(&provider.SpeakerPort, "speaker-metrics-port", provider.SpeakerPort, "Port of --metrics-address of the speakers. Only with --report-dead-nodes.")
	debugAddress := flags.FlagSet("baremetal").String("debug-address", "127.0.0.1:7474", "Address that serves "+debugapi.AllocationsPath+", to everybody who reaches it. Empty: it is not served.")
	provider.Debug = cloudprovider.NewDebug(provider.Log)
	upstream.RegisterCloudProvider(cloudprovider.Name, cloudprovider.Factory(&provider))

	// On bare metal the kubelet manages its node, and the CNI plugin manages the routes.
	app.ControllersDisabledByDefault.Insert(names.CloudNodeController, names.CloudNodeLifecycleController, names.NodeRouteController)
	controllers := maps.Clone(app.DefaultInitFuncConstructors)
	controllers[cloudprovider.PoolControllerName] = app.ControllerInitFuncConstructor{
		InitContext: app.ControllerInitContext{ClientName: cloudprovider.PoolControllerName},
		Constructor: poolController,
	}
	command := app.NewCloudControllerManagerCommand(opts, initializer(&provider), controllers, names.CCMControllerAliases(), flags, wait.NeverStop)
	command.Use = "baremetal-cloud-controller-manager"
	command.Long = "Gives Services of type LoadBalancer addresses from the pools of a ConfigMap."
	command.RunE = withDebugPages(command.RunE, debugAddress, provider.Debug.Handler(), provider.Log)
	os.Exit(cli.Run(command))
}

// moved says where a subcommand of version 0.1.0 is now; "" if it was none.
func moved(subcommand string) string {
	switch subcommand {
	case "check-config", "release":
		return fmt.Sprintf("baremetal-cloud-controller-manager %[1]s is now kubectl baremetal %[1]s: install the plugin kubectl-baremetal, and see kubectl baremetal %[1]s --help", subcommand)
	}
	return ""
}

// setDefaults replaces some of upstream's defaults. One worker and 20 requests a second are
// too few for a burst of Services. With the default name of the lease, the cloud controller
// manager of a second provider could not become the leader. Profiles are for developers.
func setDefaults(opts *options.CloudControllerManagerOptions) {
	opts.KubeCloudShared.CloudProvider.Name = cloudprovider.Name
	opts.KubeCloudShared.ConfigureCloudRoutes = false
	opts.ServiceController.ConcurrentServiceSyncs = 20
	opts.Generic.Debugging.EnableProfiling = false
	opts.Generic.ClientConnection.QPS = 1000
	opts.Generic.ClientConnection.Burst = 2000
	opts.Generic.LeaderElection.ResourceName = cloudprovider.LeaseName
	opts.Generic.LeaderElection.ResourceNamespace = configmap.DefaultRef.Namespace
}

// initializer returns the function that creates the cloud which --cloud-provider names.
// Upstream calls it after the flags have been parsed.
func initializer(provider *cloudprovider.Options) app.InitCloudFunc {
	return func(c *config.CompletedConfig) upstream.Interface {
		if !provider.Scope.Default { // upstream's controller serves only Services without a class
			app.ControllersDisabledByDefault.Insert(names.ServiceLBController)
		}
		return makeCloud(c)
	}
}

func makeCloud(c *config.CompletedConfig) upstream.Interface {
	name, file := c.ComponentConfig.KubeCloudShared.CloudProvider.Name, c.ComponentConfig.KubeCloudShared.CloudProvider.CloudConfigFile
	cloud, err := upstream.InitCloudProvider(name, file)
	if err == nil && cloud == nil {
		klog.ErrorS(nil, "unknown cloud provider", "cloud-provider", name, "want", cloudprovider.Name)
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
	if err != nil {
		klog.ErrorS(err, "creating the cloud provider failed", "cloud-provider", name)
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
	return cloud
}

// poolController starts the provider's own controller beside the upstream ones.
func poolController(_ app.ControllerInitContext, _ *config.CompletedConfig, cloud upstream.Interface) app.InitFunc {
	return func(ctx context.Context, _ genericcontrollermanager.ControllerContext) (controller.Interface, bool, error) {
		go cloud.(*cloudprovider.Cloud).RunPoolController(ctx) // this program has no other provider
		return nil, true, nil
	}
}
