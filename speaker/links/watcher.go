package links

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
)

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
