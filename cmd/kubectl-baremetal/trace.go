package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

const traceHelp = `Finds out who answers for an address. Each speaker asks on the links of its node, by ARP
or by neighbor discovery, as a client does. It also opens a TCP connection to each port of
the Service from its node, and closes it without sending anything. Ports of UDP and SCTP
are not tried.

It finds a second host that answers: a node whose kube-proxy uses ipvs without strictARP,
an address on an interface of a node, another load balancer, a host that is not a node of
this cluster. It finds nodes whose kernel remembers another host than the one that
announces the address. It cannot see what routers and clients remember.

A connection from a node mostly does not leave the node, because kube-proxy takes it. So it
says whether kube-proxy knows the address and the pods answer, not whether a client
reaches the node.

The address must be one of a pool, or of a Service.

The exit status is 0 without problems, 1 with problems, and 2 if nothing could be found
out.`

const traceExample = `  # Who answers for an address, as seen from each node
  kubectl baremetal trace 192.0.2.10

  # Before an address is added to a Service: is it free?
  kubectl baremetal trace 192.0.2.11

  # For a script: all MAC addresses that answer
  kubectl baremetal trace 192.0.2.10 -o json | jq -r '.nodes[].found.links[].answers[]?.mac' | sort -u`

// traceTimeout is how long a speaker has to answer. It asks for 3 s at most.
const traceTimeout = 10 * time.Second

func traceCommand(o *options) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:               "trace ADDRESS",
		Short:             "Find out who answers for an address, and whether its ports are open",
		Long:              traceHelp,
		Example:           traceExample,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeAddresses(o),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseAddress(args[0])
			if err != nil {
				return notDone(err)
			}
			client, config, err := o.client()
			if err != nil {
				return notDone(err)
			}
			speakers, err := o.findSpeakers(cmd.Context(), client)
			if err != nil {
				return notDone(err)
			}
			t, err := traceFrom(cmd.Context(), portForward{client, config}, speakers, addr)
			if err != nil {
				return notDone(err)
			}
			return printTrace(o.Out, format, t)
		},
	}
	addOutput(command, &format, formatJSON, formatYAML)
	return command
}

// traceFrom lets all speakers find out about an address. The error says that none has found out anything.
func traceFrom(ctx context.Context, posts podPosts, speakers []diagnose.Speaker, addr netip.Addr) (diagnose.Trace, error) {
	nodes := make([]diagnose.TracedNode, len(speakers))
	failures := postAll(ctx, posts, speakers, debugapi.TracePath+"?"+url.Values{"address": {addr.String()}}.Encode(), maxPodsAtOnce, traceTimeout, func(i int, body io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(body, maxTrace))
		if err != nil {
			return err
		}
		found := &debugapi.Trace{}
		if err := debugapi.Decode(text, debugapi.TraceKind, found); err != nil {
			return err
		}
		nodes[i].Found = found
		return nil
	})
	failed := 0
	for i, err := range failures {
		nodes[i].Node = speakers[i].Node()
		if err != nil {
			nodes[i].Problem = err.Error()
			failed++
		}
	}
	if failed == len(nodes) {
		return diagnose.Trace{}, fmt.Errorf("no speaker has found out anything about %s; the one of node %s: %w", addr, nodes[0].Node, failures[0])
	}
	return diagnose.NewTrace(addr, nodes), nil
}

// maxTrace is the size of the longest document of a trace that is read.
const maxTrace = 1 << 20

// printTrace prints a trace. The error is errProblems if it has problems.
func printTrace(out io.Writer, format string, t diagnose.Trace) error {
	done, err := printObject(out, format, t)
	if !done {
		err = printTraceText(out, t)
	}
	if err == nil && len(t.Problems) > 0 {
		return errProblems
	}
	return err
}

func printTraceText(out io.Writer, t diagnose.Trace) error {
	fmt.Fprintf(out, "Address %s (pool %s, %s)\n", t.Address, cmp.Or(t.Pool, "none"), cmp.Or(t.Protocol, "not announced"))
	fmt.Fprintf(out, "Services: %s\n", cmp.Or(strings.Join(t.Services, ", "), "none"))
	fmt.Fprintf(out, "Announced by ARP or NDP by: %s\n\n", cmp.Or(strings.Join(t.Owners, ", "), "no node"))
	asked := newTable(out)
	asked.row("ASKED BY", "LINK", "WHO ANSWERS")
	for _, n := range t.Nodes {
		if n.Found == nil {
			asked.row(n.Node, "", "unknown: "+n.Problem)
			continue
		}
		for _, l := range n.Found.Links {
			asked.row(n.Node, l.Link, whoAnswers(n, l))
		}
		if n.Found.LinksOmitted > 0 {
			asked.row(n.Node, fmt.Sprintf("%d more links", n.Found.LinksOmitted), "not asked")
		}
	}
	if err := asked.flush(); err != nil {
		return err
	}
	if err := printConnections(out, t); err != nil {
		return err
	}
	return printProblems(out, t.Problems)
}

// whoAnswers says who has answered a node on a link.
func whoAnswers(n diagnose.TracedNode, l debugapi.TraceLink) string {
	var texts []string
	for _, a := range l.Answers {
		text := fmt.Sprintf("%s (%s)", cmp.Or(a.Node, "not a node of this cluster"), a.MAC)
		if a.Source != "" {
			text += " sent from " + a.Source
		}
		texts = append(texts, text)
	}
	switch {
	case l.Problem != "":
		texts = append(texts, "not asked: "+l.Problem)
	case len(texts) == 0 && slices.Contains(n.Found.Announces, l.Link):
		texts = append(texts, "nobody else: this node announces it here")
	case len(texts) == 0:
		texts = append(texts, "nobody")
	}
	return strings.Join(texts, ", ")
}

// printConnections prints a row for each node, and a column for each port.
func printConnections(out io.Writer, t diagnose.Trace) error {
	var ports []string
	for _, n := range t.Nodes {
		if n.Found == nil {
			continue
		}
		for _, c := range n.Found.Connections {
			if port := portName(c); !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	if len(ports) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	connected := newTable(out)
	connected.row(append([]string{"CONNECTED FROM"}, ports...)...)
	for _, n := range t.Nodes {
		if n.Found == nil {
			continue
		}
		row := make([]string, 1+len(ports))
		row[0] = n.Node
		for _, c := range n.Found.Connections {
			row[1+slices.Index(ports, portName(c))] = c.Outcome
		}
		if n.Found.PortsOmitted > 0 {
			row = append(row, fmt.Sprintf("%d more ports were not tried", n.Found.PortsOmitted))
		}
		connected.row(row...)
	}
	return connected.flush()
}

func portName(c debugapi.Connection) string { return fmt.Sprintf("%s %d", c.Protocol, c.Port) }
