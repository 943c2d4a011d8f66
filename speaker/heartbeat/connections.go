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
	"sync"
	"syscall"
	"time"
)

// A connection is kept to every neighbour. Nothing is said on it once both have
// proved that they know the key; but when the neighbour's process ends, however
// it ends, its kernel closes the connection.
const (
	helloLength   = 16
	helloPatience = 2 * time.Second
	dialAgain     = 500 * time.Millisecond
	// guests bounds the connections of others that are kept open.
	guests = 256
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// proof shows that somebody knows the key, for a question nobody has asked before.
func proof(key []byte, who string, question []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(append([]byte(who+"\x00"), question...)) // never fails
	return mac.Sum(nil)
}

// greet is the beginning of a connection, on the side that has dialled.
func greet(conn io.ReadWriter, key []byte) error {
	mine := make([]byte, helloLength)
	rand.Read(mine) // never fails
	if _, err := conn.Write(mine); err != nil {
		return err
	}
	reply := make([]byte, sha256.Size+helloLength)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	if !hmac.Equal(reply[:sha256.Size], proof(key, "watched", mine)) {
		return errKey
	}
	_, err := conn.Write(proof(key, "watcher", reply[sha256.Size:]))
	return err
}

// welcome is the same on the other side.
func welcome(conn io.ReadWriter, key []byte) error {
	theirs, mine := make([]byte, helloLength), make([]byte, helloLength)
	rand.Read(mine) // never fails
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return err
	}
	if _, err := conn.Write(append(proof(key, "watched", theirs), mine...)); err != nil {
		return err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !hmac.Equal(answer, proof(key, "watcher", mine)) {
		return errKey
	}
	return nil
}

// accept keeps the connections of others open until ctx ends.
func (h *Heartbeat) accept(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	seats := make(chan struct{}, guests)
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			h.log.Warn("a connection of another speaker could not be accepted", "error", err)
			sleep(ctx, time.Second)
			continue
		}
		select {
		case seats <- struct{}{}:
		default:
			_ = conn.Close() // who belongs to us tries again
			continue
		}
		open.Go(func() {
			defer func() { <-seats }()
			h.keep(ctx, conn, welcome)
		})
	}
}

// keep holds a connection until one of the two sides closes it, and returns why
// the reading ended if it had begun well.
func (h *Heartbeat) keep(ctx context.Context, conn net.Conn, begin func(io.ReadWriter, []byte) error) (ended error, began bool) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reading
	defer stop()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // without it a dead peer's connection stays longer
	}
	_ = conn.SetDeadline(time.Now().Add(helloPatience))
	if err := begin(conn, h.key); err != nil {
		return err, false
	}
	_ = conn.SetDeadline(time.Time{})
	_, err := conn.Read(make([]byte, 1))
	return err, true
}

// connections are those that this speaker has made to its neighbours.
type connections struct {
	h    *Heartbeat
	ctx  context.Context
	work *sync.WaitGroup
	to   map[string]connection
}

type connection struct {
	addr   netip.Addr
	cancel context.CancelFunc
}

// set keeps a connection to every member that is a neighbour, and to nobody else.
func (c connections) set(peers []Peer, ring ring) {
	want := map[string]netip.Addr{}
	for _, p := range peers {
		if p.Member && len(p.Paths) > 0 && ring.neighbours(c.h.options.Name, p.Name) {
			want[p.Name] = p.Paths[0].Remote
		}
	}
	for name, connection := range c.to {
		if want[name] != connection.addr {
			connection.cancel()
			delete(c.to, name)
		}
	}
	for name, addr := range want {
		if _, ok := c.to[name]; !ok {
			ctx, cancel := context.WithCancel(c.ctx)
			c.to[name] = connection{addr, cancel}
			c.work.Go(func() { c.h.watch(ctx, name, addr) })
		}
	}
}

// watch connects to a neighbour, again and again, and tells when its kernel has
// closed the connection.
func (h *Heartbeat) watch(ctx context.Context, name string, addr netip.Addr) {
	dialer := net.Dialer{Timeout: helloPatience}
	for ; ctx.Err() == nil; sleep(ctx, dialAgain) {
		conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, h.options.Port).String())
		if err != nil {
			h.log.Debug("no connection to another speaker", "node", name, "error", err)
			continue
		}
		ended, began := h.keep(ctx, conn, greet)
		switch {
		case ctx.Err() != nil:
		case !began:
			h.log.Debug("no connection to another speaker", "node", name, "error", fmt.Errorf("greeting: %w", ended))
		case errors.Is(ended, io.EOF), errors.Is(ended, syscall.ECONNRESET):
			select {
			case h.closed <- name:
			case <-ctx.Done():
			}
		}
	}
}
