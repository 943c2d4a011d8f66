package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Transfer is a bulk transfer over one connection to a pod.
type Transfer struct {
	Carrier string // the node whose kube-proxy has sent the connection to the pod
	Took    time.Duration
}

// Download gets n bytes from port 80 of vip, from the network namespace from.
func (c *Cluster) Download(ctx context.Context, from, vip string, n int64) (Transfer, error) {
	return c.transfer(ctx, from, vip, func(client *http.Client, url string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"bytes?n="+strconv.FormatInt(n, 10), nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		got, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", got, n, err)
		}
		return nil
	})
}

// Upload posts n bytes to port 80 of vip, from the network namespace from. It returns an error if
// other bytes arrive than were sent.
func (c *Cluster) Upload(ctx context.Context, from, vip string, n int64) (Transfer, error) {
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data) // never fails
	return c.transfer(ctx, from, vip, func(client *http.Client, url string) error {
		sum := sha256.New()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"sum", io.TeeReader(io.LimitReader(&repeated{data: data}, n), sum))
		if err != nil {
			return err
		}
		request.ContentLength = n
		got, err := body(client, request)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%d %x", n, sum.Sum(nil)); got != want {
			return fmt.Errorf("the pod has got %q, and %q was sent", got, want)
		}
		return nil
	})
}

// Push posts n bytes like Upload, without the work of a checksum.
func (c *Cluster) Push(ctx context.Context, from, vip string, n int64) (Transfer, error) {
	return c.transfer(ctx, from, vip, func(client *http.Client, url string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"drop", io.LimitReader(zeros{}, n))
		if err != nil {
			return err
		}
		request.ContentLength = n
		_, err = body(client, request)
		return err
	})
}

// transfer asks for the first page of a pod, and then does something on the same connection.
func (c *Cluster) transfer(ctx context.Context, from, vip string, do func(client *http.Client, url string) error) (t Transfer, err error) {
	dials := 0
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, errors.New("the connection was closed")
		}
		return dialIn(from)(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	client, url := &http.Client{Transport: transport}, "http://"+net.JoinHostPort(vip, "80")+"/"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return t, err
	}
	text, err := body(client, request)
	if err != nil {
		return t, err
	}
	page, err := ParsePage(text)
	if err != nil {
		return t, err
	}
	begun := time.Now()
	if err := do(client, url); err != nil {
		return t, fmt.Errorf("a transfer with %s, carried by %s: %w", vip, c.Carrier(page), err)
	}
	return Transfer{Carrier: c.Carrier(page), Took: time.Since(begun)}, nil
}

// repeated is a reader of the same bytes again and again.
type repeated struct {
	data []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// Echo sends a UDP datagram with n bytes from a new socket, and waits until a pod has sent it back.
// A lost datagram is sent again after a second, three times.
func (c *Cluster) Echo(ctx context.Context, from, vip, port string, n int) error {
	conn, err := dialIn(from)(ctx, "udp", net.JoinHostPort(vip, port))
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, got := make([]byte, n), make([]byte, n+1)
	_, _ = rand.Read(sent) // never fails
	for range 3 {
		if _, err = conn.Write(sent); err != nil {
			return fmt.Errorf("sending a datagram with %d bytes: %w", n, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		var read int
		if read, err = conn.Read(got); err == nil {
			if !bytes.Equal(got[:read], sent) {
				return fmt.Errorf("%d bytes came back that differ from the %d that were sent", read, n)
			}
			return nil
		}
	}
	return fmt.Errorf("a datagram with %d bytes did not come back: %w", n, err)
}
