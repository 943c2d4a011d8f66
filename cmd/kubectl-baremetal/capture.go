package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

const captureHelp = `Captures on all nodes at the same time, and writes one file in the format pcapng, for
Wireshark or tcpdump: ARP and neighbor discovery about the address, BGP with the peers, and
BFD with the peers. No other traffic is captured, not even that of the Service.

Each link of each node is an interface of the file, with a name such as node1:eth0. The
frames are in the order of their times. The time is that of each node's clock, so the order
is only as good as the clocks.

A node captures 60 s and 8 MiB at most. The digests of TCP MD5 are written as zeros, because
a weak password could be guessed from them. So Wireshark finds wrong checksums there.

Ctrl-C ends the capture and writes what there is. The address must be one of a pool, or of
a Service.

The exit status is 0 if all nodes have captured, 1 if one has not, and 2 if none has.`

const captureExample = `  # Half a minute on all nodes
  kubectl baremetal capture 192.0.2.10 --for 30s -w arp.pcapng

  # Watch it in Wireshark
  kubectl baremetal capture 192.0.2.10 --for 10s -w - | wireshark -k -i -`

// maxCaptured bounds the frames of all nodes, which are in memory until they are written.
const maxCaptured = 256 << 20

// captureMargin is how much longer than the capture a node has to answer.
const captureMargin = 15 * time.Second

func captureCommand(o *options) *cobra.Command {
	long, file := 30*time.Second, ""
	command := &cobra.Command{
		Use:               "capture ADDRESS -w FILE",
		Short:             "Capture ARP, NDP, BGP and BFD on all nodes, in one file",
		Long:              captureHelp,
		Example:           captureExample,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeAddresses(o),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseAddress(args[0])
			if err != nil {
				return notDone(err)
			}
			if long <= 0 || long > debugapi.MaxCaptureTime {
				return notDone(fmt.Errorf("--for %v: write a time of at most %v", long, debugapi.MaxCaptureTime))
			}
			client, config, err := o.client()
			if err != nil {
				return notDone(err)
			}
			speakers, err := o.findSpeakers(cmd.Context(), client)
			if err != nil {
				return notDone(err)
			}
			return toFile(o.Out, file, func(w io.Writer) error {
				return captureOn(cmd.Context(), o, portForward{client, config}, speakers, w, file, debugapi.CaptureRequest{Address: addr, For: long})
			})
		},
	}
	command.Flags().DurationVar(&long, "for", long, "How long to capture, at most 60s.")
	command.Flags().StringVarP(&file, "write", "w", "", "The file to write, - for the standard output.")
	if err := command.MarkFlagRequired("write"); err != nil {
		panic(err) // the flag exists
	}
	return command
}

// toFile calls write with a new file that only the user can read, or with the standard output for "-". It
// removes the file if nothing could be found out.
func toFile(out io.Writer, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(out)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return notDone(err) // it has the name
	}
	err = write(f)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = notDone(fmt.Errorf("writing %s: %w", name, closeErr))
	}
	if e, ok := errors.AsType[exitError](err); ok && e.status == 2 {
		return errors.Join(err, os.Remove(name))
	}
	return err
}

// captureOn captures on the nodes of the speakers, and writes the frames. It says on the standard error what
// it has done.
func captureOn(ctx context.Context, o *options, posts podPosts, speakers []diagnose.Speaker, w io.Writer, file string, request debugapi.CaptureRequest) error {
	request.Bytes = min(debugapi.MaxCaptureBytes, maxCaptured/len(speakers))
	fmt.Fprintf(o.ErrOut, "capturing on %s for %v; Ctrl-C ends it\n", counted(len(speakers), "node"), request.For)
	captures, failures := collect(ctx, posts, speakers, request)
	var captured []debugapi.Captured
	for i, err := range failures {
		node := speakers[i].Node()
		if err != nil {
			fmt.Fprintf(o.ErrOut, "node %s: %v\n", node, err)
		}
		if captures[i].Start.Kind == "" {
			continue
		}
		captures[i].Start.Node = node
		captured = append(captured, captures[i])
		noteCapture(o.ErrOut, captures[i])
	}
	if len(captured) == 0 {
		return notDone(errors.New("no node has captured"))
	}
	frames, err := writePcap(w, "kubectl-baremetal "+version.Get().GitVersion, captured)
	if err != nil {
		return notDone(err)
	}
	fmt.Fprintf(o.ErrOut, "wrote %s: %s of %s\n", fileName(file), counted(frames, "frame"), counted(len(captured), "node"))
	if errors.Join(failures...) != nil {
		return errProblems
	}
	return nil
}

// collect returns the captures of all nodes. A capture that was interrupted is not empty.
func collect(ctx context.Context, posts podPosts, speakers []diagnose.Speaker, request debugapi.CaptureRequest) ([]debugapi.Captured, []error) {
	captures := make([]debugapi.Captured, len(speakers))
	failures := postAll(ctx, posts, speakers, debugapi.CapturePath+"?"+request.Query().Encode(), len(speakers), request.For+captureMargin, func(i int, body io.Reader) error {
		var err error
		captures[i], err = debugapi.ReadCapture(body)
		return err
	})
	for i := range failures {
		if errors.Is(failures[i], context.Canceled) && captures[i].Start.Kind != "" {
			failures[i] = nil // the user has ended it
		}
	}
	return captures, failures
}

// noteCapture says what is missing in a capture.
func noteCapture(out io.Writer, c debugapi.Captured) {
	for _, l := range c.Start.Links {
		if l.Problem != "" {
			fmt.Fprintf(out, "node %s, link %s: nothing was captured: %s\n", c.Start.Node, l.Link, l.Problem)
		}
	}
	if c.End == nil {
		return
	}
	if c.End.Why != debugapi.TimeIsOver {
		fmt.Fprintf(out, "node %s: the capture ended early: %s\n", c.Start.Node, c.End.Why)
	}
	if c.End.Lost > 0 {
		fmt.Fprintf(out, "node %s: %d frames were lost, because the node was busy\n", c.Start.Node, c.End.Lost)
	}
}

func fileName(file string) string {
	if file == "-" {
		return "to the standard output"
	}
	return file
}
