package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Fetch gets a page as the client on the segment, on a new connection. It waits half a
// second at most, because the kernel repeats a lost SYN only after a whole second.
func (c *Cluster) Fetch(ctx context.Context, vip string) (string, error) {
	return c.FetchPort(ctx, vip, "80")
}

// FetchPort is like Fetch, but from another port than 80.
func (c *Cluster) FetchPort(ctx context.Context, vip, port string) (string, error) {
	return c.fetchFrom(ctx, clientName, vip, port)
}

// FetchFrom is like FetchPort, but the client is in the network namespace from: OnSegment or Outside.
func (c *Cluster) FetchFrom(ctx context.Context, from, vip, port string) (string, error) {
	return c.fetchFrom(ctx, from, vip, port)
}

func (c *Cluster) fetchFrom(ctx context.Context, netns, vip, port string) (string, error) {
	client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialIn(netns)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(vip, port)+"/", nil)
	if err != nil {
		return "", err
	}
	return body(client, request)
}

// HealthCheck asks kube-proxy whether its node has endpoints of a Service with
// externalTrafficPolicy Local. port is the health check node port of the Service.
// HealthCheck returns the HTTP status, or 0 if there is no answer.
func (c *Cluster) HealthCheck(ctx context.Context, n *Node, port int32) int {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialIn(clientName)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/healthz", nodeIPv4(n.n), port), nil)
	if err != nil {
		return 0
	}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// Probe is a client that requests a page every 10 ms, or as often as StartProbeEvery says.
type Probe struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu       sync.Mutex
	attempts []Attempt
}

// StartProbe starts a Probe in the namespace of the client on the segment.
func (c *Cluster) StartProbe(vip string) (*Probe, error) {
	return startProbe(clientName, vip, probeEvery)
}

// StartProbeEvery is like StartProbe, but the client requests a page every so often.
func (c *Cluster) StartProbeEvery(vip string, every time.Duration) (*Probe, error) {
	return startProbe(clientName, vip, every)
}

func startProbe(netns, vip string, every time.Duration) (*Probe, error) {
	p := &Probe{done: make(chan struct{})}
	p.cmd = exec.Command("nsenter", "--net=/run/netns/"+netns, self())
	p.cmd.Env = append(p.cmd.Environ(), roleEnv("probe", "http://"+net.JoinHostPort(vip, "80")+"/", every.String())...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var a Attempt
			if json.Unmarshal(lines.Bytes(), &a) != nil {
				continue // Stop has killed the client in the middle of a line
			}
			p.mu.Lock()
			p.attempts = append(p.attempts, a)
			p.mu.Unlock()
		}
	}()
	return p, nil
}

// Stop stops the client.
func (p *Probe) Stop() {
	_ = p.cmd.Process.Kill() // fails only if the client has ended
	<-p.done
	_ = p.cmd.Wait()
}

// Attempts returns the attempts that began at since or later, and have ended.
func (p *Probe) Attempts(since time.Time) []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	var after []Attempt
	for _, a := range p.attempts {
		if !a.Start.Before(since) {
			after = append(after, a)
		}
	}
	return after
}

// Ended returns the attempts that have ended, from the n-th on, in the order of their ends.
func (p *Probe) Ended(n int) []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.attempts[n:])
}

// Recovered returns how many requests have failed after death, and when the first request
// began that succeeded after a failure, as the time after death. ok is true when there is
// such a request and all requests before it have ended.
func (p *Probe) Recovered(death time.Time) (outage time.Duration, failed int, ok bool) {
	attempts := p.Attempts(death)
	slices.SortFunc(attempts, func(a, b Attempt) int { return a.Start.Compare(b.Start) })
	var first time.Time
	for _, a := range attempts {
		switch {
		case !a.OK:
			failed++
		case failed > 0 && first.IsZero():
			first = a.Start
		}
	}
	ended := time.Since(first) > probeTimeout+probeEvery
	return first.Sub(death), failed, !first.IsZero() && ended
}

// WhoHas broadcasts an ARP request for vip as the client, and returns the MAC addresses
// that answer within wait, each address once. tag is put before the Ethertype; it can be
// the tag of a VLAN.
func (c *Cluster) WhoHas(vip string, wait time.Duration, tag ...byte) ([]string, error) {
	var conn *packet.Conn
	err := inNetns(clientName, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the client's ARP socket: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	if err := ask(conn, clientIPv4, netip.MustParseAddr(vip), tag); err != nil {
		return nil, err
	}
	var macs []string
	frame := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(frame)
		if nerr := net.Error(nil); errors.As(err, &nerr) && nerr.Timeout() {
			return macs, nil
		}
		if err != nil {
			return nil, err
		}
		var p arp.Packet
		if err := p.UnmarshalBinary(frame[14:n]); err == nil && p.Operation == arp.OperationReply && p.SenderIP.String() == vip && p.TargetIP != p.SenderIP {
			if mac := p.SenderHardwareAddr.String(); !slices.Contains(macs, mac) {
				macs = append(macs, mac)
			}
		}
	}
}

var clientIPv4 = netip.MustParseAddr("192.168.120.100")

// ask broadcasts an ARP request for vip. sender is the request's sender address; the MAC
// address is the client's.
func ask(conn *packet.Conn, sender, vip netip.Addr, tag []byte) error {
	mac := net.HardwareAddr{2, 0, 0, 0, 1, 0}
	broadcast := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	p, err := arp.NewPacket(arp.OperationRequest, mac, sender, make(net.HardwareAddr, 6), vip)
	if err != nil {
		return err
	}
	message, err := p.MarshalBinary()
	if err != nil {
		return err
	}
	frame := slices.Concat(broadcast, mac, tag, []byte{0x08, 0x06}, message)
	_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: broadcast})
	return err
}

// NodeByMAC returns the node with that MAC address, or nil.
func (c *Cluster) NodeByMAC(mac string) *Node {
	for _, n := range c.nodes {
		if n.MAC == mac {
			return n
		}
	}
	return nil
}
