package debugapi

import (
	"net"
	"net/http"
	"net/netip"
)

// ForLoopback refuses requests to a listener on loopback that name another host. The name of a web page
// can lead to 127.0.0.1, and while somebody forwards a port to a program, a page in the browser could
// read the documents there. On other listeners a host can have any name.
func ForLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isOnLoopback(r) && !NamesAddress(r) {
			http.Error(w, "this page is for clients that name an address or localhost, not "+r.Host, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOnLoopback reports whether a request has reached a listener on loopback.
func isOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	addr, err := netip.ParseAddrPort(local.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// NamesAddress reports whether a request is addressed to an IP address or to localhost. A web page that
// does so has no other name.
func NamesAddress(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	_, err = netip.ParseAddr(host)
	return err == nil || host == "localhost"
}
