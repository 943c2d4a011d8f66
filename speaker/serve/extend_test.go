package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestExtendedRequestsTakeAMinute(t *testing.T) {
	for name, test := range map[string]struct {
		extend bool
		want   string
	}{"extended": {true, "whole"}, "not extended": {false, "unexpected EOF"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, listener := &rig{}, make(pipes)
				o := r.options()
				o.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if test.extend {
						if err := Extend(w, time.Minute); err != nil {
							t.Error(err)
						}
					}
					select {
					case <-req.Context().Done():
					case <-time.After(time.Minute):
						fmt.Fprint(w, "whole")
					}
				})
				r.Server = newServer(listener, o)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- r.Run(ctx) }()
				client, server := net.Pipe()
				listener <- server
				go func() { _, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") }()
				got := "unexpected EOF"
				if response, err := http.ReadResponse(bufio.NewReader(client), nil); err == nil {
					if text, err := io.ReadAll(response.Body); err == nil && len(text) > 0 {
						got = string(text)
					}
				}
				if got != test.want {
					t.Errorf("got %q", got)
				}
				client.Close()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
