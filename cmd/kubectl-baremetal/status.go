package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

const statusHelp = `Shows what the load balancer does: the configuration in use, the cluster managers and
their leader, the speakers, the pools, the addresses of each node, BGP sessions, conflicts,
and all problems, each with what to do.

It reads the API server, and reaches the programs by port-forward, with your rights. A
program that it cannot reach is one of the problems.

The exit status is 0 without problems, 1 with problems, and 2 if nothing could be found
out.`

const statusExample = `  # What is the case, and what is wrong
  kubectl baremetal status

  # With all addresses, links and versions
  kubectl baremetal status -o wide

  # The problems alone, for a script
  kubectl baremetal status -o json | jq '.problems'`

func statusCommand(o *options) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:     "status",
		Short:   "Show what the load balancer does, and all problems",
		Long:    statusHelp,
		Example: statusExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, config, err := o.client()
			if err != nil {
				return notDone(err)
			}
			in, err := o.look(cmd.Context(), client, portForward{client, config})
			if err != nil {
				return notDone(err)
			}
			return printStatus(o.Out, format, diagnose.StatusOf(in))
		},
	}
	addOutput(command, &format, formatJSON, formatYAML, formatWide)
	return command
}

// printStatus prints a status. The error is errProblems if it has problems.
func printStatus(out io.Writer, format string, s *diagnose.Status) error {
	done, err := printObject(out, format, s)
	if !done {
		err = printStatusText(out, format == formatWide, s)
	}
	if err == nil && len(s.Problems) > 0 {
		return errProblems
	}
	return err
}

func printStatusText(out io.Writer, wide bool, s *diagnose.Status) error {
	inUse := "not in use as it is"
	switch {
	case slices.Contains(s.Unread, "ConfigMap "+s.Config.ConfigMap):
		inUse = "could not be read"
	case s.Config.InUse:
		inUse = "in use"
	}
	fmt.Fprintf(out, "Configuration: ConfigMap %s, %s", s.Config.ConfigMap, inUse)
	if s.Config.InUse {
		fmt.Fprintf(out, ": %s, %s", counted(s.Config.Pools, "pool"), counted(s.Config.Peers, "BGP peer"))
	}
	if wide {
		fmt.Fprintf(out, " (resourceVersion %d, hash %s)", s.Config.ResourceVersion, cmp.Or(s.Config.Hash, "unknown"))
	}
	if slices.Contains(s.Unread, "Services") {
		fmt.Fprint(out, "\nServices: could not be read\n")
	} else {
		fmt.Fprintf(out, "\nServices: %d served, %d waiting, %d withheld\n", s.Services.Served, s.Services.Waiting, s.Services.Withheld)
	}
	for _, section := range []func(io.Writer, bool, *diagnose.Status) error{printManagers, printSpeakers, printPools, printSessions, printConflicts, printSpread} {
		if err := section(out, wide, s); err != nil {
			return err
		}
	}
	return printProblems(out, s.Problems)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printManagers(out io.Writer, wide bool, s *diagnose.Status) error {
	fmt.Fprintln(out)
	t := newTable(out)
	t.row("CLUSTER MANAGER", "NODE", "STATE", "VERSION")
	for _, m := range s.Managers {
		state := "waits"
		switch {
		case !m.Ready:
			state = "not ready"
		case m.Leader:
			state = "leads"
		case m.Silent:
			state = "serves no document"
		case m.Problem != "":
			state = "unreachable"
		}
		t.row(m.Pod, m.Node, state, m.Version)
	}
	if len(s.Managers) == 0 {
		t.row("none")
	}
	return t.flush()
}

func printSpeakers(out io.Writer, wide bool, s *diagnose.Status) error {
	fmt.Fprintln(out)
	t := newTable(out)
	header := []string{"NODE", "SPEAKER", "MEMBERS HEARD", "CONFIGURATION", "ADDRESSES", "BGP"}
	if wide {
		header = append(header, "POD", "VERSION", "ROUTES", "ANNOUNCES")
	}
	t.row(header...)
	for _, n := range s.Speakers {
		row := []string{n.Node, n.State, fmt.Sprintf("%d/%d", n.MembersHeard, n.Members), n.Config, fmt.Sprint(len(n.Addresses)), fmt.Sprintf("%d/%d", n.SessionsUp, n.Sessions)}
		if n.Sessions == 0 {
			row[5] = ""
		}
		if n.Version == "" {
			row[2], row[4] = "", ""
		}
		if wide {
			var addresses []string
			for _, addr := range n.Addresses {
				addresses = append(addresses, addr.String())
			}
			row = append(row, n.Pod, n.Version, fmt.Sprint(n.Routes), strings.Join(addresses, ","))
		}
		t.row(row...)
	}
	return t.flush()
}

func printPools(out io.Writer, wide bool, s *diagnose.Status) error {
	if len(s.Pools) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out)
	header := []string{"POOL", "FAMILY", "PROTOCOL", "IN USE", "FREE", "COOLDOWN"}
	if wide {
		header = append(header, "AUTO-ASSIGN", "RANGES")
	}
	t.row(header...)
	for _, p := range s.Pools {
		row := []string{p.Name, p.Family, p.Protocol, fmt.Sprintf("%d of %d", p.Assigned, p.Total), fmt.Sprint(p.Free), fmt.Sprint(p.Cooldown)}
		if wide {
			row = append(row, fmt.Sprint(p.AutoAssign), strings.Join(p.Ranges, ","))
		}
		t.row(row...)
	}
	return t.flush()
}

func printSessions(out io.Writer, wide bool, s *diagnose.Status) error {
	if len(s.Sessions) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out)
	t.row("BGP PEER", "ADDRESS", "NODE", "STATE", "SINCE", "ROUTES", "BFD")
	for _, session := range s.Sessions {
		since, bfd := "", ""
		if !session.Since.IsZero() {
			since = duration.HumanDuration(s.Time.Sub(session.Since))
		}
		if session.BFD != nil {
			bfd = session.BFD.State
		}
		t.row(session.Peer, session.Address.String(), session.Node, session.State, since, fmt.Sprint(session.Prefixes), bfd)
	}
	return t.flush()
}

func printConflicts(out io.Writer, _ bool, s *diagnose.Status) error {
	if len(s.Conflicts) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out)
	t.row("CONFLICT", "SERVICES", "WHO")
	for _, c := range s.Conflicts {
		t.row(c.Address.String(), strings.Join(c.Services, ","), c.Why)
	}
	return t.flush()
}

func printSpread(out io.Writer, _ bool, s *diagnose.Status) error {
	if len(s.Spread) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out)
	t.row("SPREAD ADDRESS", "SERVICES", "STATE", "SLOTS")
	for _, a := range s.Spread {
		var slots []string
		for _, c := range a.Carriers {
			slots = append(slots, fmt.Sprintf("%s:%d", c.Node, c.Slots))
		}
		t.row(a.Address.String(), strings.Join(a.Services, ","), a.Reason, strings.Join(slots, ","))
	}
	return t.flush()
}

func printProblems(out io.Writer, problems []diagnose.Problem) error {
	if len(problems) == 0 {
		_, err := fmt.Fprintln(out, "\nNo problems found.")
		return err
	}
	fmt.Fprintf(out, "\n%s:\n", strings.ToUpper(counted(len(problems), "problem")))
	for _, p := range problems {
		if _, err := fmt.Fprintf(out, "\n%s %s: %s: %s.\n  What to do: %s.\n", strings.ToUpper(string(p.Severity)), p.Reason, p.Where, strings.TrimSuffix(p.What, "."), strings.TrimSuffix(p.Do, ".")); err != nil {
			return err
		}
	}
	return nil
}
