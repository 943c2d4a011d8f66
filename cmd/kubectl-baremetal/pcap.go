package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// writePcap writes the frames of all nodes to one file in the format pcapng, in the order of their times.
// Each link of each node is an interface of the file, with a name such as node1:eth0. It returns how many
// frames there are.
func writePcap(w io.Writer, program string, captures []debugapi.Captured) (frames int, err error) {
	type frame struct {
		debugapi.CaptureFrame
		link int // in the file
	}
	var all []frame
	var links []pcapgo.NgInterface
	for _, c := range captures {
		first := len(links)
		for _, l := range c.Start.Links {
			links = append(links, pcapgo.NgInterface{
				Name: c.Start.Node + ":" + l.Link, Description: fmt.Sprintf("link %s of node %s, %s", l.Link, c.Start.Node, l.MAC), LinkType: layers.LinkTypeEthernet,
			})
		}
		for _, f := range c.Frames {
			all = append(all, frame{f, first + f.Link})
		}
	}
	if len(links) == 0 {
		return 0, errors.New("writing the frames: no node has a link")
	}
	slices.SortStableFunc(all, func(a, b frame) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.link, b.link)) })

	file, err := pcapgo.NewNgWriterInterface(w, links[0], pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{OS: runtime.GOOS, Application: program}})
	if err != nil {
		return 0, fmt.Errorf("writing the header: %w", err)
	}
	for _, l := range links[1:] {
		if _, err := file.AddInterface(l); err != nil {
			return 0, fmt.Errorf("writing the interface %s: %w", l.Name, err)
		}
	}
	for i, f := range all {
		info := gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Frame), Length: len(f.Frame), InterfaceIndex: f.link}
		direction := pcapgo.NgEpbFlagDirectionInbound
		if f.Outgoing {
			direction = pcapgo.NgEpbFlagDirectionOutbound
		}
		if err := file.WritePacketWithOptions(info, f.Frame, pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction}}); err != nil {
			return i, fmt.Errorf("writing a frame: %w", err)
		}
	}
	if err := file.Flush(); err != nil {
		return len(all), fmt.Errorf("writing the frames: %w", err)
	}
	return len(all), nil
}
