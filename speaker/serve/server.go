// Package serve runs HTTP servers that strangers can reach. It bounds what a stranger costs.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout is how long a client has for the TLS handshake, and then for the headers
	// of its request.
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	// idleTimeout is how long the connection of a trusted client stays open without a
	// request. Scrapes every minute use one connection.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes has room for the longest tokens.
	maxHeaderBytes = 16 << 10
)

// Reasons that Options.Rejected is called with.
const (
	// TooManyConnections: the server, or the client's address, has as many as it can have.
	TooManyConnections = "connections"
	// TooManyNew: too many new connections in one second.
	TooManyNew = "rate"
	// BadHandshake: the TLS handshake failed.
	BadHandshake = "tls"
)

// Options of a Server.
type Options struct {
	// Name says in the log which server it is.
	Name string
	// Address is where to listen, HOST:PORT. HOST can be empty, which means all addresses.
	Address string
	Handler http.Handler
	// Certificate makes the server speak TLS only. If it is nil, the server speaks plain
	// HTTP.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Rejected is called for each connection that is refused, with one of the reasons.
	Rejected func(reason string)
	Log      *slog.Logger
}

// Server serves HTTP/1.1. A connection ends after one request, unless Trust was called.
type Server struct {
	name     string
	listener *listener
	http     *http.Server
	log      *slog.Logger
}

// New listens. It returns an error if the address is wrong or used.
func New(o Options) (*Server, error) {
	if _, port, err := net.SplitHostPort(o.Address); err != nil || port == "" { // Listen would take any port
		return nil, fmt.Errorf("listening on %q: write HOST:PORT, or :PORT for all addresses", o.Address)
	}
	tcp, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, err // it has the address
	}
	return newServer(tcp, o), nil
}

func newServer(tcp net.Listener, o Options) *Server {
	s := &Server{name: o.Name, listener: newListener(tcp, o.Rejected), log: o.Log}
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			o.Handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		// HTTP/2 would allow many requests at a time on one connection.
		Protocols:   new(http.Protocols),
		ConnContext: withConnection,
		ErrorLog:    log.New(&errorLog{server: o.Name, log: o.Log, rejected: o.Rejected}, "", 0),
	}
	s.http.Protocols.SetHTTP1(true)
	if o.Certificate != nil {
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.Certificate}
	}
	return s
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends. Then it closes all connections. An error means that the server
// has failed before.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() {
		if s.http.TLSConfig != nil {
			failed <- s.http.ServeTLS(s.listener, "", "")
			return
		}
		failed <- s.http.Serve(s.listener)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving %s on %s: %w", s.name, s.Addr(), err)
	case <-ctx.Done():
	}
	if err := s.http.Close(); err != nil {
		s.log.Warn("closing the HTTP server failed", "server", s.name, "error", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s on %s: %w", s.name, s.Addr(), err)
	}
	return nil
}

// connectionKey is the key of a connection in the context of its requests.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// Trust says that the client may make this request. Its connection stays open for the next
// request, and is not closed to make room for other clients. Handlers call it before they
// write.
func Trust(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		c.listener.trust(c)
		w.Header().Del("Connection")
	}
}

// Extend gives the handler of a slow page so much more time than others have.
func Extend(w http.ResponseWriter, more time.Duration) error {
	c, until := http.NewResponseController(w), time.Now().Add(more)
	// The context of the request ends when reading fails, also because of its deadline.
	if err := errors.Join(c.SetReadDeadline(until.Add(readTimeout)), c.SetWriteDeadline(until.Add(writeTimeout))); err != nil {
		return fmt.Errorf("extending the time of a request: %w", err)
	}
	return nil
}
