package cluster

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
)

// forwardSocket is the unix socket of the API server below Env.Dir. The programs inside
// and outside of the network namespaces see it, because they share the file system.
const forwardSocket = "apiserver.sock"

// forwardTo listens on a port of 127.0.0.1, and relays connections to a unix socket.
func forwardTo(socket string) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", func() {}, fmt.Errorf("forwarding the API server's port: %w", err)
	}
	go relay(listener, "unix", socket)
	return listener.Addr().String(), func() { _ = listener.Close() }, nil
}

// expose makes the API server reachable from outside of the namespaces. It writes a
// kubeconfig for programs there and returns its path. Needs.Forward must be set.
func (c *Cluster) expose() (kubeconfig string, err error) {
	socket := filepath.Join(c.env.Dir, forwardSocket)
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return "", fmt.Errorf("exposing the API server: %w", err)
	}
	go relay(listener, "tcp", controlPlane4+":6443")
	path := c.path("kubeconfig")
	return path, c.writeKubeconfig(path, "https://"+c.env.Forward, adminToken)
}

// relay connects each connection that listener accepts to an address, until listener is
// closed.
func relay(listener net.Listener, network, address string) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial(network, address)
			if err != nil {
				return // the client sees that the connection is closed
			}
			defer out.Close()
			go func() {
				_, _ = io.Copy(out, in)
				_ = out.Close()
			}()
			_, _ = io.Copy(in, out)
		}()
	}
}
