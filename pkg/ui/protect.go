package ui

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
)

// contentPolicy lets the page load only what this server serves, and no other page show it.
const contentPolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// protected refuses requests that do not name loopback as the host. So a page of the Internet
// whose name resolves to 127.0.0.1 reads nothing. It also sets the headers that keep browsers from
// sharing what they receive.
func protected(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !isLoopback(r.Host) {
			http.Error(w, "this page is served on 127.0.0.1 only: use the address that the command has printed", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether the host of a request is localhost or 127.0.0.1, with any port: the
// operator may forward another port to this one.
func isLoopback(host string) bool {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if _, err := netip.ParseAddrPort("127.0.0.1:" + port); err != nil {
			return false
		}
		host = name
	}
	return host == "localhost" || host == "127.0.0.1"
}

// guarded refuses requests without the token. The page sends it in a header. A page of another
// server cannot send this header, and a browser does not add it by itself, as it adds cookies.
func (s *Server) guarded(next http.HandlerFunc) http.Handler {
	want := []byte("Bearer " + s.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "the token is missing or wrong: open the address that the command has printed", http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}
