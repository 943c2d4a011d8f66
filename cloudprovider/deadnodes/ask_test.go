package deadnodes

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

// answering returns a session with a host that answers with this handler.
func answering(t *testing.T, handler http.HandlerFunc) *session {
	t.Helper()
	host := httptest.NewTLSServer(handler)
	t.Cleanup(host.Close)
	s, err := dial(t.Context(), "node1", netip.MustParseAddrPort(host.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestAnswerOfAStrangerIsRefused(t *testing.T) {
	key := []byte("the key of the speakers")
	const good = `{"version":1,"node":"node1","change":5,"dead":["node2"]}`
	signed := func(key, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			channel, err := speakerapi.Bind(r.TLS)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set(speakerapi.AnswerHeader, channel.Answer([]byte(key), r.RequestURI, []byte(body)))
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string // in the error; empty for none
	}{
		"a speaker":           {signed(string(key), good), ""},
		"no proof":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(good)) }, "no valid proof"},
		"another key":         {signed("guessed", good), "no valid proof"},
		"a speaker elsewhere": {signed(string(key), strings.Replace(good, "node1", "node3", 1)), `its node is "node3"`},
		"an older version":    {http.NotFound, "status 404"},
		"an endless answer": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "no valid proof"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout"},
	} {
		s := answering(t, test.handler)
		answer, err := s.ask(t.Context(), key, 4, 300*time.Millisecond)
		switch {
		case test.want == "" && (err != nil || answer.Change != 5 || len(answer.Dead) != 1):
			t.Errorf("%s: %+v, %v", name, answer, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "node1")):
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		s.close()
	}
	refuses := answering(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusUnauthorized) })
	if _, err := refuses.ask(t.Context(), key, 0, time.Second); !errors.Is(err, errKey) {
		t.Errorf("a refused key: %v", err)
	}
}

func TestAskSendsTheNumberOfTheLastChange(t *testing.T) {
	asked := make(chan string, 1)
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI + " " + r.Header.Get("Authorization")[:12]
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := s.ask(t.Context(), []byte("key"), 42, time.Second); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	if got := <-asked; got != "/dead-nodes?after=42 Speaker-Key " {
		t.Errorf("asked for %q", got)
	}
}
