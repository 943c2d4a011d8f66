// Package links says on which network interfaces addresses can be announced.
package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/vishvananda/netlink"
)

// DefaultExclude matches the interfaces that container networks make: what is
// behind them is not the network of the node. It is MetalLB's list.
const DefaultExclude = `^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns|lxc).*|^lo$`

// Link is an Ethernet interface that is up.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
}

// List returns the interfaces that are up, speak Ethernet and are not part of
// another one, without those whose name matches exclude.
func List(exclude *regexp.Regexp) ([]Link, error) {
	all, err := netlink.LinkList()
	for try := 1; try < 5 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		all, err = netlink.LinkList() // interfaces came or went meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	var links []Link
	for _, l := range all {
		if attrs := l.Attrs(); usable(attrs) && !exclude.MatchString(attrs.Name) {
			links = append(links, Link{Name: attrs.Name, Index: attrs.Index, MAC: [6]byte(attrs.HardwareAddr)})
		}
	}
	return links, nil
}

func usable(attrs *netlink.LinkAttrs) bool {
	const up = net.FlagUp | net.FlagBroadcast | net.FlagRunning
	return attrs.Flags&up == up && attrs.Flags&net.FlagLoopback == 0 &&
		attrs.EncapType == "ether" && len(attrs.HardwareAddr) == 6 && attrs.MasterIndex == 0
}

// Watch calls changed, which must not block, whenever an interface has changed,
// until ctx ends.
func Watch(ctx context.Context, log *slog.Logger, changed func()) {
	for ctx.Err() == nil {
		if err := watch(ctx, changed); err != nil {
			log.Warn("watching network interfaces, trying again", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func watch(ctx context.Context, changed func()) error {
	updates, failed := make(chan netlink.LinkUpdate), make(chan error, 1)
	done := make(chan struct{})
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ErrorCallback: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err != nil {
		return fmt.Errorf("subscribing to changes: %w", err)
	}
	changed() // what happened before was not seen
	defer func() {
		close(done)
		for range updates { // the library closes it when it has ended
		}
	}()
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				return <-failed
			}
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}
