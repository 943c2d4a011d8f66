// Package tablewatch detects at once that another program has removed a table of nftables, for
// example with "nft flush ruleset", which the nftables.service of distributions does at each
// restart.
package tablewatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// retryInterval is the time after a failure until the watcher begins again.
	retryInterval = 10 * time.Second
	// socketBuffer is the number of bytes that wait for the watcher. kube-proxy changes thousands of
	// elements at once. If they do not fit, the watcher takes the tables for removed.
	socketBuffer = 1 << 20
)

// Options of a Watcher.
type Options struct {
	// Tables are the names of the tables, of any family.
	Tables []string
	// Removed is called when one of the tables was removed, or when that is possible. It is also called
	// after the owner of a table has written it anew. It must not wait.
	Removed func()
	Log     *slog.Logger
}

// Watcher listens to the kernel.
type Watcher struct{ Options }

// New returns a Watcher.
func New(o Options) *Watcher { return &Watcher{o} }

// Run listens until ctx ends. A failure is logged once and tried again. Run returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		err := w.listen(ctx)
		if err != nil && !failing {
			w.Log.Warn("this node does not detect at once that another program removes its tables of nftables, trying again", "error", err, "hint", "the speaker needs the capability NET_ADMIN")
		}
		failing = err != nil
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return nil
}

// listen returns nil when ctx has ended.
func (w *Watcher) listen(ctx context.Context) (err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	w.Removed() // nobody has listened before
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.Removed()
		case err != nil:
			return err
		case slices.ContainsFunc(messages, w.removes):
			w.Removed()
		}
	}
}

// removes reports whether a message says that one of the tables was removed.
func (w *Watcher) removes(m netlink.Message) bool {
	const header = 4 // struct nfgenmsg
	if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE || len(m.Data) < header {
		return false
	}
	attributes, err := netlink.UnmarshalAttributes(m.Data[header:])
	if err != nil {
		return true // the kernel is newer than this program
	}
	return slices.ContainsFunc(attributes, func(a netlink.Attribute) bool {
		return a.Type == unix.NFTA_TABLE_NAME && slices.Contains(w.Tables, strings.TrimRight(string(a.Data), "\x00"))
	})
}
