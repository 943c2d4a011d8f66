package speaker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/capture"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/serve"
)

// maxCaptureLinks bounds on how many links frames are captured.
const maxCaptureLinks = 16

// capture sends the client the frames about an address, and those of BGP and BFD, as they come.
func (w *web) capture(rw http.ResponseWriter, r *http.Request, s reconcile.Subject) {
	request, err := debugapi.ParseCaptureRequest(r.URL.Query())
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if err := serve.Extend(rw, request.For); err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	want := capture.Request{Addr: s.Addr, Peers: s.Peers, Bytes: request.Bytes}
	start := debugapi.CaptureStart{Header: debugapi.NewHeader(debugapi.CaptureKind, w.options.Version, time.Now()), Address: s.Addr}
	start.Node = w.node
	for _, l := range s.PeerLinks[:min(len(s.PeerLinks), maxCaptureLinks)] {
		want.Links = append(want.Links, capture.Link{Name: l.Name, Index: l.Index, MAC: l.MAC})
		start.Links = append(start.Links, debugapi.CaptureLink{Link: l.Name, MAC: macText(l.MAC)})
	}
	c := capture.Open(want)
	defer func() {
		if err := c.Close(); err != nil {
			w.log.Warn("closing the sockets of a capture failed", "error", err)
		}
	}()
	for i, problem := range c.Problems {
		if problem != nil {
			start.Links[i].Problem = problem.Error()
		}
	}
	rw.Header().Set("Content-Type", debugapi.ContentType)
	if err := send(r.Context(), rw, start, c, request.For); err != nil {
		w.log.Debug("a capture was not read to its end", "error", err)
	}
}

// send writes the lines of a capture.
func send(ctx context.Context, rw http.ResponseWriter, start debugapi.CaptureStart, c *capture.Capture, long time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	flush := http.NewResponseController(rw).Flush
	lines, err := debugapi.NewCaptureWriter(rw, start)
	if err := errors.Join(err, flush()); err != nil {
		return err
	}
	frames := 0
	lost, err := c.Run(ctx, func(f capture.Frame) error {
		frames++
		return errors.Join(lines.Frame(debugapi.CaptureFrame{Link: f.Link, Time: f.At.UTC(), Outgoing: f.Outgoing, Frame: f.Bytes}), flush())
	})
	end := debugapi.CaptureEnd{Why: debugapi.TimeIsOver, Frames: frames, Lost: lost}
	if err != nil {
		end.Why = err.Error()
	}
	return lines.End(end)
}
