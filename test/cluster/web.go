package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// web is the web server of a pod, on port 80 of its two addresses. Its first page says who
// answers whom. At /bytes?n=N it sends N bytes. It answers what is posted to /sum with the
// checksum, and drops what is posted to /drop. On port 80 of UDP it sends each datagram back.
func web(ipv4, ipv6, pod, node string) error {
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, pageFormat+"\n", pod, node, client)
	})
	pages.HandleFunc("/bytes", sendBytes)
	pages.HandleFunc("/sum", sendSum)
	pages.HandleFunc("/drop", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }) // the client sees errors
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: pages}
	failed := make(chan error)
	for _, ip := range []string{ipv4, ipv6} {
		if ip == "" {
			continue
		}
		address := net.JoinHostPort(ip, "80")
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		datagrams, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(listener) }()
		go func() { failed <- echo(datagrams) }()
	}
	return <-failed
}

// webOfPod runs web in a pod of a full node. The name of the host is that of the pod, and
// the pod's IPv4 address says on which node it is.
func webOfPod() error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	addresses, err := eth0.Addrs()
	if err != nil {
		return err
	}
	var ipv4, ipv6 string
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		switch ip := prefix.Addr(); {
		case err != nil:
			return err
		case ip.Is4():
			ipv4 = ip.String()
		case !ip.IsLinkLocalUnicast():
			ipv6 = ip.String()
		}
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	node := 0
	if _, err := fmt.Sscanf(ipv4, "10.244.%d.", &node); err != nil {
		return fmt.Errorf("finding the node of the address %q: %w", ipv4, err)
	}
	return web(ipv4, ipv6, pod, fmt.Sprint("node", node))
}

// sendBytes sends as many bytes as the request asks for.
func sendBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(w, zeros{}, n) // fails if the client has gone
}

// sendSum sends how many bytes the client has posted, and their checksum.
func sendSum(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
}

// zeros is a reader that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// echo sends each datagram back to its sender.
func echo(conn net.PacketConn) error {
	datagram := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(datagram)
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo(datagram[:n], from) // a lost datagram is what UDP allows
	}
}

// Page is what the first page of a pod says.
type Page struct {
	Pod  string
	Node string // of the pod
	// Client is the address from which the request came to the pod. kube-proxy writes the address
	// of its node there if the policy is Cluster and the pod is on another node.
	Client string
}

const pageFormat = "Welcome! This is pod %s on node %s. Your address is %s."

// ParsePage reads the first page of a pod.
func ParsePage(text string) (p Page, err error) {
	// Fields end at a space, so the full stops at their ends are part of them.
	_, err = fmt.Sscanf(text, strings.ReplaceAll(pageFormat, "%s.", "%s"), &p.Pod, &p.Node, &p.Client)
	if err != nil {
		return p, fmt.Errorf("reading the page %q: %w", text, err)
	}
	p.Node, p.Client = strings.TrimSuffix(p.Node, "."), strings.TrimSuffix(p.Client, ".")
	if _, err := netip.ParseAddr(p.Client); err != nil {
		return p, errors.New("reading the page: " + err.Error())
	}
	return p, nil
}

// Carrier returns the name of the node whose kube-proxy has sent the request to the pod: the
// node whose address the pod has seen, or the node of the pod if it has seen the client's.
// The links of the node to its pods, and to the other nodes, can have an address from the
// node's range for pods.
func (c *Cluster) Carrier(p Page) string {
	client, err := netip.ParseAddr(p.Client)
	if err != nil {
		return p.Node
	}
	for _, n := range c.nodes {
		if p.Client == nodeIPv4(n.n) || p.Client == nodeIPv6(n.n) ||
			netip.MustParsePrefix(podsIPv4(n.n)).Contains(client) || netip.MustParsePrefix(podsIPv6(n.n)).Contains(client) {
			return n.Name
		}
	}
	return p.Node
}
