package heartbeat

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// This speaker keeps a TCP connection to every address of every neighbour. Both sides first
// prove that they have the key; after that nothing is sent. When the neighbour's process ends,
// however it ends, its kernel closes the connections. One is enough to tell: another link may
// lose frames at that time.
const (
	helloLength   = 16
	helloPatience = 2 * time.Second
	dialInterval  = 500 * time.Millisecond
	// maxInbound bounds the connections of other speakers that are kept open.
	maxInbound = 256
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// proof proves that its sender has the key. The question is random, so that an old
// proof is worth nothing.
func proof(key []byte, side string, challenge []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(append([]byte(side+"\x00"), challenge...)) // never fails
	return mac.Sum(nil)
}

// greet begins a connection on the side that dials. It answers with the key that the
// other side has used, because the other side may not know this speaker's newest key yet.
func greet(conn io.ReadWriter, keys keyring) error {
	mine := make([]byte, helloLength)
	rand.Read(mine) // never fails
	if _, err := conn.Write(mine); err != nil {
		return err
	}
	reply := make([]byte, sha256.Size+helloLength)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	key := keys.find(reply[:sha256.Size], func(key []byte) []byte { return proof(key, "watched", mine) })
	if key == nil {
		return errKey
	}
	_, err := conn.Write(proof(key, "watcher", reply[sha256.Size:]))
	return err
}

// welcome begins a connection on the side that accepts.
func welcome(conn io.ReadWriter, keys keyring) error {
	theirs, mine := make([]byte, helloLength), make([]byte, helloLength)
	rand.Read(mine) // never fails
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return err
	}
	if _, err := conn.Write(append(proof(keys.send(), "watched", theirs), mine...)); err != nil {
		return err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if keys.find(answer, func(key []byte) []byte { return proof(key, "watcher", mine) }) == nil {
		return errKey
	}
	return nil
}

// accept keeps the connections of other speakers open until ctx ends.
func (h *Heartbeat) accept(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	slots := make(chan struct{}, maxInbound)
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			h.log.Warn("accepting a connection of another speaker failed", "error", err)
			sleep(ctx, time.Second)
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = conn.Close() // a member tries again
			continue
		}
		open.Go(func() {
			defer func() { <-slots }()
			h.keep(ctx, conn, welcome)
		})
	}
}

// keep holds a connection until one side closes it. It returns whether the
// connection began well, and why it ended.
func (h *Heartbeat) keep(ctx context.Context, conn net.Conn, begin func(io.ReadWriter, keyring) error) (ended error, began bool) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read
	defer stop()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // without it the connection of a dead member stays longer
	}
	_ = conn.SetDeadline(time.Now().Add(helloPatience))
	if err := begin(conn, *h.keys.Load()); err != nil {
		return err, false
	}
	_ = conn.SetDeadline(time.Time{})
	_, err := conn.Read(make([]byte, 1))
	return err, true
}

// connections are the connections from this speaker to its neighbours, by name.
type connections struct {
	h    *Heartbeat
	work *sync.WaitGroup
	to   map[string]connection
}

type connection struct {
	addrs  []netip.Addr
	cancel context.CancelFunc
}

// set keeps a connection to every address of every neighbour, until ctx ends, and to no other
// member.
func (c connections) set(ctx context.Context, neighbours []*member) {
	want := map[string][]netip.Addr{}
	for _, m := range neighbours {
		for _, p := range m.paths {
			want[m.name] = append(want[m.name], p.Remote)
		}
	}
	for name, connection := range c.to {
		if !slices.Equal(want[name], connection.addrs) {
			connection.cancel()
			delete(c.to, name)
		}
	}
	for name, addrs := range want {
		if _, ok := c.to[name]; !ok {
			ctx, cancel := context.WithCancel(ctx)
			c.to[name] = connection{addrs, cancel}
			c.work.Go(func() { c.h.watch(ctx, name, addrs) })
		}
	}
}

// watch keeps connections to all addresses of a neighbour until ctx ends, and reports when the
// neighbour's kernel has closed one of them. The others belong to the same process: it closes them,
// so that they do not end later, when the next process runs.
func (h *Heartbeat) watch(ctx context.Context, name string, addrs []netip.Addr) {
	for ; ctx.Err() == nil; sleep(ctx, dialInterval) {
		life, end := context.WithCancel(ctx)
		var open sync.WaitGroup
		var first sync.Once
		for _, addr := range addrs {
			open.Go(func() {
				if !h.connect(life, name, addr) {
					return
				}
				first.Do(func() {
					end()
					select {
					case h.closed <- name:
					case <-ctx.Done():
					}
				})
			})
		}
		open.Wait()
		end()
	}
}

// connect connects to an address of a neighbour, again and again, until its kernel has closed a
// connection or ctx ends. It reports whether its kernel has.
func (h *Heartbeat) connect(ctx context.Context, name string, addr netip.Addr) (closed bool) {
	dialer := net.Dialer{Timeout: helloPatience}
	for ; ctx.Err() == nil; sleep(ctx, dialInterval) {
		conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, h.options.Port).String())
		if err != nil {
			h.log.Debug("connecting to a member failed", "node", name, "address", addr, "error", err)
			continue
		}
		ended, began := h.keep(ctx, conn, greet)
		switch {
		case ctx.Err() != nil:
		case !began:
			h.log.Debug("connecting to a member failed", "node", name, "address", addr, "error", fmt.Errorf("greeting: %w", ended))
		case errors.Is(ended, io.EOF), errors.Is(ended, syscall.ECONNRESET):
			return true
		}
	}
	return false
}
