// Package links lists the network interfaces on which addresses can be announced.
package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultExclude matches the interfaces that container networks create. The network of
// the node is not behind them. It is MetalLB's list.
const DefaultExclude = `^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns|lxc|kube-dummy-if).*|^lo$`

// Link is an Ethernet interface that is up.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
	// IPv4 and IPv6 are the first addresses of the interface, with the lengths of their
	// prefixes; the zero value for none. Link-local addresses do not count.
	IPv4, IPv6 netip.Prefix
	// Addrs are all addresses of the interface, none for type dummy. Link-local addresses do
	// not count.
	Addrs []netip.Prefix
}

// Addresses returns all addresses of the node's Ethernet interfaces, in order, also of those
// that have no carrier now. It leaves out interfaces whose name matches exclude, and those of
// type dummy: programs bind the addresses of Services there, like kube-proxy with IPVS.
func Addresses(exclude *regexp.Regexp) (all []netip.Prefix, err error) {
	interfaces, addrs, err := read()
	if err != nil {
		return nil, err
	}
	for _, l := range interfaces {
		attrs := l.Attrs()
		if l.Type() != "dummy" && attrs.EncapType == "ether" && !exclude.MatchString(attrs.Name) {
			all = append(all, allPrefixes(addrs, attrs.Index)...)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all), nil
}

// List returns the Ethernet interfaces that are up and are not part of another one. It
// leaves out those whose name matches exclude.
func List(exclude *regexp.Regexp) ([]Link, error) {
	all, addrs, err := read()
	if err != nil {
		return nil, err
	}
	vrfs := map[int]bool{}
	for _, l := range all {
		vrfs[l.Attrs().Index] = l.Type() == "vrf"
	}
	vrfs[0] = true // no master
	var links []Link
	for _, l := range all {
		attrs := l.Attrs()
		if !usable(attrs) || !vrfs[attrs.MasterIndex] || exclude.MatchString(attrs.Name) {
			continue
		}
		link := Link{Name: attrs.Name, Index: attrs.Index, MAC: [6]byte(attrs.HardwareAddr)}
		link.IPv4, link.IPv6 = prefixes(addrs, attrs.Index)
		if l.Type() != "dummy" { // see Addresses
			link.Addrs = allPrefixes(addrs, attrs.Index)
		}
		links = append(links, link)
	}
	return links, nil
}

// read returns all network interfaces and all their addresses.
func read() ([]netlink.Link, []netlink.Addr, error) {
	interfaces, err := dump(netlink.LinkList)
	if err != nil {
		return nil, nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, nil, fmt.Errorf("listing the addresses of network interfaces: %w", err)
	}
	return interfaces, addrs, nil
}

// dump lists again if the interfaces changed during the listing.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	all, err := list()
	for try := 1; try < 5 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		all, err = list()
	}
	return all, err
}

// usable reports whether an interface is up, is Ethernet and has a carrier. The caller
// checks whether it is part of another interface: the ports of a bridge or a bond are
// not used, but a member of a VRF is an interface like any other.
func usable(attrs *netlink.LinkAttrs) bool {
	const up = net.FlagUp | net.FlagBroadcast | net.FlagRunning
	return attrs.Flags&up == up && attrs.Flags&net.FlagLoopback == 0 &&
		attrs.EncapType == "ether" && len(attrs.HardwareAddr) == 6
}

// prefixes returns the first permanent address of each family of interface index. IPv6
// addresses that are temporary, or not yet checked for duplicates, do not count.
func prefixes(addrs []netlink.Addr, index int) (ipv4, ipv6 netip.Prefix) {
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); !ok || a.LinkIndex != index || addr.IsLinkLocalUnicast() || a.Flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		bits, _ := a.Mask.Size()
		if prefix := netip.PrefixFrom(addr, bits); addr.Is4() && !ipv4.IsValid() {
			ipv4 = prefix
		} else if addr.Is6() && !ipv6.IsValid() {
			ipv6 = prefix
		}
	}
	return ipv4, ipv6
}

// allPrefixes returns all addresses of interface index, in order, except link-local ones.
func allPrefixes(addrs []netlink.Addr, index int) (all []netip.Prefix) {
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if addr = addr.Unmap(); !ok || a.LinkIndex != index || addr.IsLinkLocalUnicast() {
			continue
		}
		bits, _ := a.Mask.Size()
		all = append(all, netip.PrefixFrom(addr, bits))
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// Watcher reports changes of network interfaces and their addresses.
type Watcher struct {
	log     *slog.Logger
	changed func()
}

// NewWatcher returns a Watcher that calls changed after every change. changed must not
// block.
func NewWatcher(log *slog.Logger, changed func()) *Watcher { return &Watcher{log, changed} }

// Run watches until ctx ends. It returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := watch(ctx, w.changed); err != nil {
			w.log.Warn("watching network interfaces failed, trying again", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

func watch(ctx context.Context, changed func()) error {
	updates, addrs, failed := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), make(chan error, 2)
	done := make(chan struct{})
	onError := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ErrorCallback: onError}); err != nil {
		return fmt.Errorf("subscribing to changes: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: onError}); err != nil {
		close(done)
		drain(updates)
		return fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	changed() // changes before the subscription were not seen
	defer func() {
		close(done)
		drain(updates)
		drain(addrs)
	}()
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				return <-failed
			}
			changed()
		case _, ok := <-addrs:
			if !ok {
				return <-failed
			}
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}

// drain waits until the netlink library has closed the channel.
func drain[T any](updates <-chan T) {
	for range updates {
	}
}
