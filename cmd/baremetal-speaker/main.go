// Command baremetal-speaker announces the addresses of Services of type
// LoadBalancer from the node that it runs on.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	programversion "k8s.io/component-base/version"
	"k8s.io/klog/v2"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
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
	flags.StringVar(&options.Node, "node-name", os.Getenv("NODE_NAME"), "Name of the node that this speaker runs on. Default: the environment variable NODE_NAME.")
	flags.Var(&options.ConfigMap, "config-map", "The ConfigMap with the pools of addresses, in its key "+configmap.Key+".")
	options.Scope.AddFlags(flags)
	flags.StringVar(&kubeconfig, "kubeconfig", "", "Path to a kubeconfig. Default: the pod's own service account.")
	flags.Uint16Var(&options.MembersPort, "members-port", 7946, "TCP and UDP port of the speakers' member list. Must be the same on all nodes.")
	flags.Uint16Var(&options.HeartbeatPort, "heartbeat-port", 7947, "UDP and TCP port of the speakers' heartbeats. Must be the same on all nodes.")
	flags.StringVar(&failover, "failover", "default", "How soon a dead node is detected: default (after 60 ms), fast (30 ms), or calm (500 ms, with a fifth of the packets). A node whose speaker alone is silent is detected after 1 s (calm: 3 s). Must be the same on all nodes.")
	flags.BoolVar(&options.ProbeKernels, "probe-kernels", true, "Ask the kernels of other nodes by ARP and NDP whether they are alive. If false, the heartbeats alone detect a dead node, after 300 ms (fast: 150 ms, calm: 1.5 s): for switches that limit ARP.")
	flags.DurationVar(&options.Refresh, "announce-refresh", layer2.DefaultRefresh, "How often an address that does not move is announced again, so that switches do not forget its port. 0 means never.")
	flags.StringVar(&options.Web.MetricsAddress, "metrics-address", ":7472", "Address that serves /metrics with TLS, to clients that the API server allows to get it.")
	flags.BoolVar(&options.Web.InsecureMetrics, "insecure-metrics", false, "Serve /metrics without TLS, to everybody.")
	flags.StringVar(&options.Web.CertFile, "tls-cert-file", "", "File with the certificate for /metrics, PEM. Default: the speaker makes one itself. Changes of the file take effect without a restart.")
	flags.StringVar(&options.Web.KeyFile, "tls-private-key-file", "", "File with the private key for --tls-cert-file, PEM.")
	flags.StringVar(&options.Web.HealthAddress, "health-address", "127.0.0.1:7473", "Address that serves /healthz, /readyz, /debug/plan, /debug/bgp, /debug/spread and /debug/members, to everybody who reaches it.")
	flags.StringVar(&exclude, "exclude-interfaces", links.DefaultExclude, "Regular expression. The speaker announces nothing on interfaces whose name matches.")
	flags.DurationVar(&options.FailbackAfter, "failback-after", time.Minute, "How long a node that was lost without a goodbye must be well before it takes its addresses back. 0 means at once.")
	flags.BoolVar(&options.IgnoreExcludeLabel, "ignore-exclude-label", false, "Let nodes announce that have the label "+v1.LabelNodeExcludeBalancers+". Must be the same on all nodes.")
	flags.StringVar(&options.KubeProxyHealth, "kube-proxy-health", "127.0.0.1:10256", "Where kube-proxy's health check listens on this node. After a start, a node gets addresses when this answers, or when the Node has been Ready for 5 s. Empty: only the Node counts.")
	closedPorts := flags.String("closed-ports", "reject", "What happens to packets for ports of an announced address that no Service has: reject them at once, or leave them to the routes of the kernel. Rejecting needs the capability NET_ADMIN.")
	spread := flags.String("spread", "auto", "Whether this node shares the traffic of addresses with other nodes in layer 2: auto (when the pool or the Service asks for it) or off. Sharing needs the capability NET_ADMIN. With off, one node serves each address.")
	flags.BoolVar(&options.AnswerPing, "answer-ping", true, "Whether the announced addresses answer ping. Only with --closed-ports=reject.")
	flags.StringVar(&level, "log-level", "info", "Level of the log: debug, info, warn or error.")
	format := flags.String("log-format", "text", "Format of the log: text, or json with one object a line.")
	conditions := flags.String("service-conditions", string(reconcile.ConditionsAuto), "Whether the speakers write the conditions "+service.Announced+" and "+service.SpreadCondition+" to Services: true, false, or auto: if the API server has the admission policy "+service.PolicyName+", which lets them write nothing else.")
	version := flags.Bool("version", false, "Print the version and exit.")
	if err := flags.Parse(args); err != nil {
		if err == pflag.ErrHelp {
			return nil
		}
		return err
	}
	if *version {
		fmt.Println(build.Version())
		return nil
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if options.Node == "" {
		return fmt.Errorf("set --node-name, or NODE_NAME in the environment, to the name of the node")
	}
	if options.Refresh < 0 || options.Refresh > 0 && options.Refresh < time.Second {
		return fmt.Errorf("--announce-refresh=%v: write 0, or 1s or more", options.Refresh)
	}
	if options.FailbackAfter < 0 {
		return fmt.Errorf("--failback-after=%v: write 0, or a duration like 1m", options.FailbackAfter)
	}
	if _, _, err := net.SplitHostPort(options.KubeProxyHealth); err != nil && options.KubeProxyHealth != "" {
		return fmt.Errorf("--kube-proxy-health=%s: write host:port, like 127.0.0.1:10256, or nothing", options.KubeProxyHealth)
	}
	var err error
	if options.Failover, err = heartbeat.ParseTiming(failover); err != nil {
		return fmt.Errorf("--failover: %w", err)
	}
	if options.HeartbeatPort == options.MembersPort {
		return fmt.Errorf("--heartbeat-port and --members-port are both %d: they must differ", options.MembersPort)
	}
	if (options.Web.CertFile == "") != (options.Web.KeyFile == "") {
		return fmt.Errorf("--tls-cert-file and --tls-private-key-file: set both or none")
	}
	if options.Web.InsecureMetrics && options.Web.CertFile != "" {
		return fmt.Errorf("--insecure-metrics serves metrics without TLS, so --tls-cert-file has no effect: remove one of the two")
	}
	var slogLevel slog.Level
	if err := slogLevel.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	if options.Log, err = logger(os.Stderr, *format, slogLevel); err != nil {
		return err
	}
	klog.SetSlogLogger(options.Log) // client-go logs through klog
	if options.ExcludeInterfaces, err = regexp.Compile(exclude); err != nil {
		return fmt.Errorf("--exclude-interfaces: %w", err)
	}
	switch options.ServiceConditions = reconcile.Conditions(*conditions); options.ServiceConditions {
	case reconcile.ConditionsAuto, reconcile.ConditionsOn, reconcile.ConditionsOff:
	default:
		return fmt.Errorf("--service-conditions=%s: write auto, true or false", *conditions)
	}
	if options.RefuseClosedPorts = *closedPorts == "reject"; !options.RefuseClosedPorts && *closedPorts != "leave" {
		return fmt.Errorf("--closed-ports=%s: write reject or leave", *closedPorts)
	}
	if options.Spread = *spread == "auto"; !options.Spread && *spread != "off" {
		return fmt.Errorf("--spread=%s: write auto or off", *spread)
	}
	options.Web.Version = programversion.Get().GitVersion
	if options.Client, err = client(options.Log, kubeconfig, 0); err != nil {
		return err
	}
	if options.StatusClient, err = client(options.Log, kubeconfig, statusQPS); err != nil {
		return err
	}
	if options.Web.ReviewClient, err = client(options.Log, kubeconfig, reviewQPS); err != nil {
		return err
	}
	return speaker.Run(ctx, options)
}

// logger returns a logger that writes in this format.
func logger(out io.Writer, format string, level slog.Level) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, fmt.Errorf("--log-format=%s: write text or json", format)
}

const (
	// statusQPS is higher than the speaker's own limit for conditions, so that the client
	// does not delay them.
	statusQPS = 200
	// reviewQPS is higher than the speaker's own limit for reviews of tokens.
	reviewQPS = 20
)

// client returns a client of the API server. qps is its limit of requests per second; 0
// means the default.
func client(log *slog.Logger, kubeconfig string, qps float32) (kubernetes.Interface, error) {
	source := "--kubeconfig " + kubeconfig
	load := func() (*restclient.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	if kubeconfig == "" {
		source, load = "the pod's service account (outside a pod set --kubeconfig)", restclient.InClusterConfig
	}
	config, err := load()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", source, err)
	}
	config.QPS, config.Burst = qps, int(2*qps)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &patientWatches{next: next, log: log, pause: pause}
	})
	c, err := kubernetes.NewForConfig(restclient.AddUserAgent(config, "baremetal-speaker"))
	if err != nil {
		return nil, fmt.Errorf("using %s: %w", source, err)
	}
	return c, nil
}
