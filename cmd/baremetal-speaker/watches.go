package main

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// firstPause is how long a watch waits after the API server was not reached. It doubles up to lastPause.
	firstPause, lastPause = 250 * time.Millisecond, 4 * time.Second
	// maxRefusals is how many refusals of the API server a watch does not pass on. After that, a right is
	// missing.
	maxRefusals = 5
)

// patientWatches lets watches wait until the API server serves them again, instead of failing.
//
// client-go pauses for up to a minute between two attempts after an outage (the backoff of the Reflector in
// k8s.io/client-go/tools/cache), and shared informers cannot change that. For that time the speaker would not
// know that its node is excluded, or that endpoints have changed, while others do: two nodes would announce.
type patientWatches struct {
	next  http.RoundTripper
	log   *slog.Logger
	pause func(attempt int) time.Duration
}

// pause is random, so that not all speakers come back at the same moment.
func pause(attempt int) time.Duration {
	longest := min(lastPause, firstPause<<min(attempt, 10))
	return longest/2 + rand.N(longest/2)
}

// RoundTrip sends a request. A watch has no body, so it can be sent again. Its context ends with the
// speaker.
func (p *patientWatches) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || r.URL.Query().Get("watch") != "true" {
		return p.next.RoundTrip(r)
	}
	refusals := 0
	for attempt := 0; ; attempt++ {
		response, err := p.next.RoundTrip(r)
		var problem string
		switch {
		case err != nil:
			problem = err.Error()
		case isStarting(response.StatusCode) && refusals < maxRefusals:
			refusals++
			problem = response.Status
			response.Body.Close()
		default:
			if attempt > 0 {
				p.log.Info("the API server serves watches again", "path", r.URL.Path, "status", response.StatusCode)
			}
			return response, nil
		}
		if attempt == 0 {
			p.log.Warn("the API server serves no watch, trying again", "path", r.URL.Path, "problem", problem)
		}
		select {
		case <-time.After(p.pause(attempt)):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// isStarting reports whether an API server may answer so that has just started. It knows no roles yet, and
// refuses everything.
func isStarting(status int) bool {
	return status == http.StatusForbidden || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}
