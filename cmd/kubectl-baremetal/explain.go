package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

const explainHelp = `Explains a Service of type LoadBalancer, or an address: what the Service asks for and has,
its pods, which node announces each address and why, spread and BGP, what clients see, and
what to do. For a Service that waits it says of each pool why it gives no address.

It reads the API server, and reaches the programs by port-forward, with your rights.

The exit status is 0 without problems, 1 with problems, and 2 if nothing could be found
out.`

const explainExample = `  # A Service of the present namespace
  kubectl baremetal explain svc/web

  # A Service of another namespace
  kubectl baremetal explain -n shop web

  # Who has an address, and which node announces it
  kubectl baremetal explain 192.0.2.10

  # For a script
  kubectl baremetal explain web -o json | jq -r '.services[].summary'`

func explainCommand(o *options) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:               "explain [svc/]NAME | ADDRESS",
		Short:             "Explain a Service or an address, and what to do",
		Long:              explainHelp,
		Example:           explainExample,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeServices(o),
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, _, err := o.kube.ToRawKubeConfigLoader().Namespace()
			if err != nil {
				return notDone(fmt.Errorf("reading the namespace of the kubeconfig: %w", err))
			}
			client, config, err := o.client()
			if err != nil {
				return notDone(err)
			}
			in, err := o.look(cmd.Context(), client, portForward{client, config})
			if err != nil {
				return notDone(err)
			}
			readService(cmd.Context(), client, in, namespace, args[0])
			e, err := explain(in, namespace, args[0])
			if err != nil {
				return notDone(err)
			}
			return printExplanation(o.Out, format, e)
		},
	}
	addOutput(command, &format, formatJSON, formatYAML)
	return command
}

// explain explains what an argument names.
func explain(in *diagnose.Input, namespace, arg string) (*diagnose.Explanation, error) {
	if addr, err := netip.ParseAddr(arg); err == nil {
		return diagnose.ExplainAddress(in, addr.Unmap()), nil
	}
	name, ok := serviceOf(arg)
	if !ok {
		return nil, fmt.Errorf("%q is no Service: write svc/NAME, NAME, or an address; the namespace is -n", arg)
	}
	return diagnose.ExplainService(in, namespace+"/"+name)
}

// serviceOf returns the name of the Service in an argument, and whether it names one.
func serviceOf(arg string) (name string, ok bool) {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok {
		return arg, true
	}
	return name, slices.Contains(serviceKinds, kind)
}

// readService reads the Service of an argument if the list of all Services could not be read. A user may
// have the right to see this one only.
func readService(ctx context.Context, client kubernetes.Interface, in *diagnose.Input, namespace, arg string) {
	name, ok := serviceOf(arg)
	if _, err := netip.ParseAddr(arg); err == nil || !ok || in.Unread("Services") == "" {
		return
	}
	svc, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		in.Services = append(in.Services, svc)
	case apierrors.IsNotFound(err): // so the missing list is not the reason
		in.Unknown = slices.DeleteFunc(slices.Clone(in.Unknown), func(u diagnose.Unknown) bool { return u.What == "Services" })
	}
}

// serviceKinds are the names by which kubectl knows Services.
var serviceKinds = []string{"svc", "service", "services"}

// completeServices completes the names of Services of type LoadBalancer.
func completeServices(o *options) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) (names []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		namespace, _, err := o.kube.ToRawKubeConfigLoader().Namespace()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		client, _, err := o.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), podTimeout)
		defer cancel()
		list, err := client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		prefix := ""
		if kind, _, ok := strings.Cut(typed, "/"); ok {
			prefix = kind + "/"
		}
		for _, svc := range list.Items {
			if o.scope.Ours(&svc) {
				names = append(names, prefix+svc.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// printExplanation prints an explanation. The error is errProblems if it has problems.
func printExplanation(out io.Writer, format string, e *diagnose.Explanation) error {
	done, err := printObject(out, format, e)
	if !done {
		if e.Address != nil {
			fmt.Fprintf(out, "Address %s: %s", e.Address.Address, e.Address.What)
			if e.Address.Pool != "" {
				fmt.Fprintf(out, " (pool %s)", e.Address.Pool)
			}
			fmt.Fprint(out, "\n\n")
		}
		for _, s := range e.Services {
			printService(out, s, e.Time)
		}
		err = printProblems(out, e.Problems)
	}
	if err == nil && len(e.Problems) > 0 {
		return errProblems
	}
	return err
}

// printService prints what is known about a Service. Errors show up at the end, in printProblems.
func printService(out io.Writer, s diagnose.ServiceExplanation, now time.Time) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-11s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(out, "Service %s\n%s.\n", s.Name, strings.TrimSuffix(s.Summary, "."))
	line("Wants", "%s", describeWants(s.Wants))
	if w := s.Waiting; w != nil {
		line("Waits", "for %s: %s", duration.HumanDuration(now.Sub(w.Since)), cmp.Or(w.Why, "it waits for an address of its second family"))
		for _, p := range w.Pools {
			fmt.Fprintf(out, "    pool %q: %s\n", p.Pool, p.Why)
		}
		if w.PoolsOmitted > 0 {
			fmt.Fprintf(out, "    and %d more pools\n", w.PoolsOmitted)
		}
	}
	var pods []string
	for _, node := range slices.Sorted(maps.Keys(s.Endpoints.Nodes)) {
		pods = append(pods, fmt.Sprintf("%d on %s", s.Endpoints.Nodes[node], node))
	}
	if s.Endpoints.Unknown {
		pods = []string{"not known: the EndpointSlices could not be read"}
	}
	line("Ready pods", "%s", cmp.Or(strings.Join(pods, ", "), "none"))
	for _, a := range s.Addresses {
		printAddress(out, a)
	}
	for _, c := range s.Conditions {
		if c.Status != "True" {
			line("Condition", "%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	for i, event := range s.Events {
		if i == 0 {
			fmt.Fprintln(out, "  Events:")
		}
		fmt.Fprintf(out, "    %s\n", event)
	}
}

func describeWants(w diagnose.Wants) string {
	texts := []string{strings.Join(w.Families, " and "), "ports " + strings.Join(w.Ports, ", "), "externalTrafficPolicy " + w.Policy}
	if texts[0] == "" {
		texts = texts[1:]
	}
	for _, wish := range []struct{ name, value string }{
		{"class ", w.Class}, {"pool ", w.Pool}, {"addresses ", strings.Join(w.Addresses, ", ")}, {"share key ", w.ShareKey}, {"node ", w.Node}, {"spread ", w.Spread}, {"wrong: ", w.Problem},
	} {
		if wish.value != "" {
			texts = append(texts, wish.name+wish.value)
		}
	}
	if w.Affinity {
		texts = append(texts, "session affinity")
	}
	return strings.Join(texts, "; ")
}

func printAddress(out io.Writer, a diagnose.AddressExplanation) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "    %-11s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(out, "  Address %s (pool %s, %s)\n", a.Address, cmp.Or(a.Pool, "none"), cmp.Or(a.Protocol, "not announced"))
	if a.Protocol == "layer2" || a.Protocol == "both" {
		switch {
		case a.Owner != "":
			line("Owner", "%s: %s", a.Owner, cmp.Or(a.WhyOwner, a.Reason))
		default:
			line("Owner", "none: %s", a.Reason)
		}
		if len(a.Links) > 0 {
			line("Links", "%s", strings.Join(a.Links, ", "))
		}
		if len(a.Candidates) > 1 {
			more := ""
			if a.CandidatesOmitted > 0 {
				more = " and " + counted(a.CandidatesOmitted, "more node")
			}
			line("Candidates", "%s%s", strings.Join(a.Candidates, ", "), more)
		}
	}
	for _, e := range a.Excluded {
		line("Not", "%s: %s", e.Node, e.Why)
	}
	if a.ExcludedOmitted > 0 {
		line("Not", "and %s", counted(a.ExcludedOmitted, "more node"))
	}
	if a.Spread != "" {
		var slots []string
		for _, c := range a.Carriers {
			slots = append(slots, fmt.Sprintf("%s %d of 256 slots", c.Node, c.Slots))
		}
		line("Spread", "%s", cmp.Or(strings.Join(slots, ", "), "no: "+a.Spread))
	}
	for _, n := range a.BGP {
		line("BGP", "%s: %s, routers with a session: %s", n.Node, n.Reason, cmp.Or(strings.Join(n.Routers, ", "), "none"))
	}
	line("Clients", "%s", a.Clients)
}
