// Command baremetal-speaker announces the addresses of Services of type
// LoadBalancer from the node that it runs on.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "baremetal-speaker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	options := speaker.Options{ConfigMap: configmap.DefaultRef, Scope: service.DefaultScope()}
	var kubeconfig, exclude, level, failover string
	flags := pflag.NewFlagSet("baremetal-speaker", pflag.ContinueOnError)
	flags.StringVar(&options.Node, "node-name", os.Getenv("NODE_NAME"), "Name of the node that this speaker runs on. Default: the environment's NODE_NAME.")
	flags.Var(&options.ConfigMap, "config-map", "The ConfigMap with the pools of addresses, under its key "+configmap.Key+".")
	options.Scope.AddFlags(flags)
	flags.StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig. Default: the pod's own service account.")
	flags.Uint16Var(&options.MembersPort, "members-port", 7946, "Port on which speakers talk to each other, TCP and UDP. It must be the same on all nodes.")
	flags.Uint16Var(&options.HeartbeatPort, "heartbeat-port", 7947, "Port on which speakers tell each other that they are alive, UDP and TCP. It must be the same on all nodes.")
	flags.StringVar(&failover, "failover", "default", "How soon a dead node is missed: default (after 300 ms), fast (150 ms), or calm (1.5 s, for networks that lose much). The same on all nodes.")
	flags.DurationVar(&options.Refresh, "announce-refresh", layer2.DefaultRefresh, "How often an address is announced that does not move, so that switches do not forget where it is; 0 is never.")
	flags.StringVar(&options.MetricsAddress, "metrics-address", ":7472", "Address on which /metrics, /healthz, /readyz and /debug/plan are served.")
	flags.StringVar(&exclude, "exclude-interfaces", links.DefaultExclude, "Regular expression for the names of interfaces on which nothing is announced.")
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error.")
	version := flags.Bool("version", false, "Print the version and end.")
	if err := flags.Parse(args); err != nil {
		if err == pflag.ErrHelp {
			return nil
		}
		return err
	}
	if *version {
		if info, ok := debug.ReadBuildInfo(); ok {
			fmt.Println(info.Main.Version)
		}
		return nil
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if options.Node == "" {
		return fmt.Errorf("--node-name is not set, nor is NODE_NAME in the environment")
	}
	if options.Refresh < 0 || options.Refresh > 0 && options.Refresh < time.Second {
		return fmt.Errorf("--announce-refresh=%v: write 0, or a second or more", options.Refresh)
	}
	var err error
	if options.Failover, err = heartbeat.ParseTiming(failover); err != nil {
		return fmt.Errorf("--failover: %w", err)
	}
	if options.HeartbeatPort == options.MembersPort {
		return fmt.Errorf("--heartbeat-port and --members-port are both %d: they must differ", options.MembersPort)
	}
	var slogLevel slog.Level
	if err := slogLevel.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	options.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slogLevel}))
	klog.SetSlogLogger(options.Log) // client-go's messages
	if options.ExcludeInterfaces, err = regexp.Compile(exclude); err != nil {
		return fmt.Errorf("--exclude-interfaces: %w", err)
	}
	if options.Client, err = client(kubeconfig); err != nil {
		return err
	}
	return speaker.Run(ctx, options)
}

func client(kubeconfig string) (kubernetes.Interface, error) {
	where := "--kubeconfig " + kubeconfig
	load := func() (*restclient.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	if kubeconfig == "" {
		where, load = "the pod's service account (outside a pod set --kubeconfig)", restclient.InClusterConfig
	}
	config, err := load()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", where, err)
	}
	c, err := kubernetes.NewForConfig(restclient.AddUserAgent(config, "baremetal-speaker"))
	if err != nil {
		return nil, fmt.Errorf("using %s: %w", where, err)
	}
	return c, nil
}
