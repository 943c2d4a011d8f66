package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/capture"
)

// recording is a capture that runs.
type recording struct {
	mu     sync.Mutex
	frames []capture.Frame
	cancel context.CancelFunc
	ended  chan struct{} // is closed after err was set
	err    error
}

func record(t *testing.T, link string, request capture.Request) *recording {
	t.Helper()
	i, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	request.Links = append(request.Links, capture.Link{Name: i.Name, Index: i.Index, MAC: [6]byte(i.HardwareAddr)})
	c := capture.Open(request)
	if err := errors.Join(c.Problems...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &recording{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		_, err := c.Run(ctx, func(f capture.Frame) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.frames = append(r.frames, f)
			return nil
		})
		r.err = errors.Join(err, c.Close())
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

// stop ends the capture.
func (r *recording) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// count returns how many frames were received and sent.
func (r *recording) count() (received, sent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		if f.Outgoing {
			sent++
		} else {
			received++
		}
	}
	return received, sent
}

func TestCaptureHasTheFramesAboutTheAddressOnly(t *testing.T) {
	for _, addr := range []netip.Addr{vip4, vip6} {
		t.Run(addr.String(), func(t *testing.T) {
			w := plug(t, "eth0", mac0)
			start(t, 0, owner(vip4, "eth0"), owner(vip6, "eth0"))
			w.settle()
			r := record(t, "eth0", capture.Request{Addr: addr, Bytes: 1 << 20})
			ask := func() {
				if addr.Is4() {
					w.answer(question(t, vip4))
					return
				}
				w.answer(solicitation(t, nil, client6, netip.Addr{}, vip6, sourceOption()))
			}
			w.put(question(t, netip.MustParseAddr("192.0.2.99")))
			w.put(solicitation(t, nil, client6, netip.Addr{}, netip.MustParseAddr("2001:db8::99"), sourceOption()))
			ask()
			eventually(t, "a question and an answer", func() bool { received, sent := r.count(); return received >= 1 && sent >= 1 })
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			for _, f := range r.frames {
				about := addr.Is4() && f.Bytes[12] == 0x08 && (parseARP(t, f.Bytes).TargetIP == addr || parseARP(t, f.Bytes).SenderIP == addr) ||
					addr.Is6() && f.Bytes[12] == 0x86 && netip.AddrFrom16([16]byte(f.Bytes[62:78])) == addr
				if !about {
					t.Errorf("%x", f.Bytes)
				}
			}
		})
	}
}

func TestCaptureHasBGPAndBFDWithThePeers(t *testing.T) {
	r := wireRouter(t, 0)
	peers := []netip.AddrPort{netip.AddrPortFrom(r.addr4, 179), netip.AddrPortFrom(r.addr6, 1179)}
	got := record(t, "router-0", capture.Request{Addr: vip4, Peers: peers, Bytes: 1 << 20})
	dial := func(network string, to netip.AddrPort) {
		c, err := net.Dial(network, to.String())
		if err != nil {
			return // the router refuses the connection
		}
		fmt.Fprint(c, "hello")
		c.Close()
	}
	for _, peer := range peers {
		dial("tcp", netip.AddrPortFrom(peer.Addr(), 80))
		dial("udp", netip.AddrPortFrom(peer.Addr(), 9))
		dial("tcp", peer)
		dial("udp", netip.AddrPortFrom(peer.Addr(), 3784))
		dial("udp", netip.AddrPortFrom(peer.Addr(), 4784))
	}
	// SYN and RST, and a BFD packet to each of two ports, for each peer.
	eventually(t, "all frames", func() bool { received, sent := got.count(); return received >= 2 && sent >= 6 })
	if err := got.stop(); err != nil {
		t.Error(err)
	}
	if received, sent := got.count(); received != 2 || sent != 6 {
		t.Errorf("%d frames received and %d sent", received, sent)
	}
}

func TestCaptureEndsAtItsBoundOfBytes(t *testing.T) {
	w := plug(t, "eth0", mac0)
	r := record(t, "eth0", capture.Request{Addr: vip4, Bytes: 100})
	for range 3 {
		w.put(question(t, vip4)) // 42 bytes
	}
	<-r.ended
	if !errors.Is(r.err, capture.ErrEnough) || len(r.frames) != 2 {
		t.Errorf("%d frames, %v", len(r.frames), r.err)
	}
}
