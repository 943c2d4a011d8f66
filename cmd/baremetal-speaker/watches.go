package main

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstPause is how long a watch waits after the API server was not reached. It doubles up to lastPause.
	firstPause, lastPause = 250 * time.Millisecond, 4 * time.Second
	// maxRefusals is how often a watch is forbidden until it fails. An API server that has just started knows no
	// roles yet, and forbids everything. After that, a right is missing.
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
	refusals, problem := 0, ""
	for attempt := 0; ; attempt++ {
		response, err := p.next.RoundTrip(r)
		pause, now := p.pause(attempt), ""
		switch {
		case err != nil:
			now = err.Error()
		case isOverloaded(response.StatusCode):
			now, pause = response.Status, max(pause, retryAfter(response))
		case response.StatusCode == http.StatusForbidden && refusals < maxRefusals:
			refusals++
			now = response.Status
		default:
			if attempt > 0 && response.StatusCode == http.StatusOK {
				p.log.Info("the API server serves watches again", "path", r.URL.Path)
			}
			return response, nil
		}
		if response != nil {
			response.Body.Close()
		}
		if now != problem {
			problem = now
			p.log.Warn("the API server serves no watch, trying again", "path", r.URL.Path, "problem", problem)
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// isOverloaded reports whether the API server says that it cannot serve at the moment.
func isOverloaded(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// retryAfter returns how long the API server wants a client to pause, ten seconds at most.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds), 10) * time.Second
}
