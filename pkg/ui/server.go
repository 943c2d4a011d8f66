package ui

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	// endTimeout is how long a Server waits for its pages to end.
	endTimeout = 2 * time.Second
	// writeTimeout is how long a page may take to read what is sent to it.
	writeTimeout = 10 * time.Second
	// keepalive is how often something is sent to a page, also if there is nothing to say.
	keepalive = 15 * time.Second
)

// Options are those of a Server.
type Options struct {
	Source Source
	// Cluster is the name of the cluster that the page shows.
	Cluster string
	// Port is the TCP port; 0 means any free one.
	Port uint16
	// Interval is the pause between two looks at the Source.
	Interval time.Duration
}

// Server serves the page. It only reads: no request changes anything.
type Server struct {
	listener net.Listener
	token    string
	source   Source
	watcher  *watcher
}

// New returns a Server that listens on 127.0.0.1.
func New(o Options) (*Server, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(o.Port))))
	if err != nil {
		return nil, fmt.Errorf("listening for browsers: %w", err)
	}
	return &Server{listener: listener, token: rand.Text(), source: o.Source, watcher: newWatcher(o.Source, o.Cluster, o.Interval)}, nil
}

// URL returns the address of the page. It contains the token that the page needs. The token is the
// fragment, so that browsers do not send it with the request for the page.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/#" + s.token }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.watcher.run(ctx) })

	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends the streams of events
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	wg.Go(func() {
		<-ctx.Done()
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer stop()
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
	})
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the page: %w", err)
	}
	return nil
}

// handler returns what answers requests. The files of the page contain nothing secret. Everything
// else needs the token.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, file := range pageFiles() {
		mux.HandleFunc("GET "+path, file.serve)
	}
	mux.Handle("GET /events", s.guarded(s.serveEvents))
	mux.Handle("GET /explain", s.guarded(s.serveExplain))
	return protected(mux)
}

// serveEvents sends the picture as server-sent events until the page is closed: "picture" with the
// whole picture when something has changed, else "time" with the time of the picture.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	defer s.watcher.open()()
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	sent := 0
	for {
		state, changed := s.watcher.now()
		event := []byte(": nothing is known yet\n\n")
		if state.version != sent {
			event = fmt.Appendf(nil, "event: picture\ndata: %s\n\n", state.data)
		} else if sent > 0 {
			event = fmt.Appendf(nil, "event: time\ndata: %q\n\n", state.update.Time.Format(time.RFC3339Nano))
		}
		sent = state.version
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-time.After(keepalive):
		}
	}
}

// serveExplain sends a text about the address in the query.
func (s *Server) serveExplain(w http.ResponseWriter, r *http.Request) {
	addr, err := netip.ParseAddr(r.URL.Query().Get("address"))
	if err != nil {
		http.Error(w, "the query must have an IP address: address=192.0.2.1", http.StatusBadRequest)
		return
	}
	text, err := s.source.Explain(r.Context(), addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text))
}
