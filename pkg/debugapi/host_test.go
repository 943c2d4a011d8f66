package debugapi_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestPageOnLoopbackRefusesTheNameOfAWebPage(t *testing.T) {
	page := debugapi.ForLoopback(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, test := range []struct {
		listener, host string
		status         int
	}{
		{"127.0.0.1", "127.0.0.1:7473", 200},
		{"127.0.0.1", "localhost:7473", 200},
		{"127.0.0.1", "localhost", 200},
		{"::1", "[::1]:7473", 200},
		{"127.0.0.1", "evil.example:7473", 403},
		{"127.0.0.1", "localhost.evil.example", 403},
		{"::ffff:127.0.0.1", "evil.example", 403},
		{"127.0.0.1", "", 403},
		{"192.0.2.1", "node1.example:7473", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, debugapi.PlanPath, nil)
		r.Host = test.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(test.listener), Port: 7473}))
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s at %s: status %d, want %d", test.host, test.listener, w.Code, test.status)
		}
	}
}
