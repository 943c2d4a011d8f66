package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
)

// away is an API server that is not reached for some attempts, then is overloaded, and then forbids some.
type away struct{ attempts, left, overloaded, refuses int }

func (a *away) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.attempts++; a.attempts <= a.left {
		return nil, errors.New("connection refused")
	}
	status := http.StatusOK
	switch n := a.attempts - a.left; {
	case n <= a.overloaded:
		status = http.StatusServiceUnavailable
	case n <= a.overloaded+a.refuses:
		status = http.StatusForbidden
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}, nil
}

func at(server *away) *patientWatches {
	return &patientWatches{next: server, log: slog.New(slog.DiscardHandler), pause: func(int) time.Duration { return time.Millisecond }}
}

func TestWatchWaitsUntilTheAPIServerServesIt(t *testing.T) {
	server := &away{left: 5, overloaded: 20, refuses: 3}
	client, err := kubernetes.NewForConfig(&restclient.Config{Host: "192.0.2.1", Transport: at(server)})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := client.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{})
	if err != nil || server.attempts != 29 {
		t.Fatalf("%d attempts: %v", server.attempts, err)
	}
	watch.Stop()
}

func TestWatchWithoutARightFails(t *testing.T) {
	server := &away{refuses: 1 << 30}
	client, err := kubernetes.NewForConfig(&restclient.Config{Host: "192.0.2.1", Transport: at(server)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) || server.attempts != maxRefusals+1 {
		t.Errorf("%d attempts: %v", server.attempts, err)
	}
}

func TestOtherRequestsFailAtOnce(t *testing.T) {
	server := &away{left: 100}
	client, err := kubernetes.NewForConfig(&restclient.Config{Host: "192.0.2.1", Transport: at(server)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err == nil || server.attempts != 1 {
		t.Errorf("list: %d attempts, %v", server.attempts, err)
	}
	if _, err := client.CoreV1().Services("default").Update(t.Context(), &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.UpdateOptions{}); err == nil || server.attempts != 2 {
		t.Errorf("update: %d attempts, %v", server.attempts, err)
	}
}

func TestWatchEndsWithTheSpeaker(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := &away{left: 1 << 30}
	patient := at(server)
	patient.pause = func(int) time.Duration { cancel(); return time.Hour }
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://192.0.2.1/api/v1/nodes?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := patient.RoundTrip(r); err == nil || server.attempts != 1 {
		t.Errorf("%d attempts: %v", server.attempts, err)
	}
}

func TestPauseOfAWatchIsBounded(t *testing.T) {
	for attempt := range 100 {
		longest := min(lastPause, firstPause<<min(attempt, 10))
		if got := pause(attempt); got < longest/2 || got >= longest || attempt > 5 && longest != lastPause {
			t.Errorf("attempt %d: %v", attempt, got)
		}
	}
}

func TestWatchPausesAsLongAsTheAPIServerWants(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "x": 0, "-1": 0, "2": 2 * time.Second, "3600": 10 * time.Second} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
