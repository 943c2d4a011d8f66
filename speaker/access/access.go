// Package access lets only those clients read /metrics whom the API server allows to. It does
// what kube-rbac-proxy does: a TokenReview says who the client is, and a SubjectAccessReview
// whether it may get the page.
package access

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// Role is the ClusterRole of the manifests with the right to read metrics.
const Role = "baremetal-metrics-reader"

// Options of a Reviewer.
type Options struct {
	// Tokens and Rights are the two APIs of the API server. Their client should have limits
	// of its own, so that reviews do not delay other requests.
	Tokens authenticationv1.TokenReviewInterface
	Rights authorizationv1.SubjectAccessReviewInterface
	// Path is the URL that clients must be allowed to get.
	Path string
	// Rejected is called for each request that is refused, with one of the reasons.
	Rejected func(reason string)
	Log      *slog.Logger
}

// Reasons that Options.Rejected is called with.
const (
	// Unauthenticated: the request has no token, or one that the API server does not accept.
	Unauthenticated = "unauthenticated"
	// Forbidden: the client must not get the page.
	Forbidden = "forbidden"
	// Unavailable: the API server did not answer.
	Unavailable = "unavailable"
	// Busy: there were too many unknown tokens, so the API server was not asked.
	Busy = "busy"
)

// Reviewer asks the API server, and remembers the answers.
type Reviewer struct {
	Options
	complaint rate.Sometimes // what cannot be reviewed is logged once a minute

	mu      sync.Mutex
	answers answers
	budget  budget
}

// New returns a Reviewer that knows no client.
func New(o Options) *Reviewer {
	return &Reviewer{Options: o, complaint: rate.Sometimes{Interval: time.Minute}, answers: answers{}}
}

// Protect returns a handler that serves next to the clients that may get Path.
func (r *Reviewer) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		a := answer{verdict: unauthenticated}
		if token, ok := bearerToken(request.Header.Get("Authorization")); ok {
			a = r.ask(request.Context(), token, clientOf(request))
		}
		switch a.verdict {
		case allowed:
			next.ServeHTTP(w, request)
		case forbidden:
			r.refuse(w, Forbidden, http.StatusForbidden, fmt.Sprintf("%q must not get %s: bind the ClusterRole %s to it", a.user, r.Path, Role))
		case unavailable:
			r.refuse(w, Unavailable, http.StatusServiceUnavailable, "the API server does not say who may get "+r.Path+"; the log of this program has the error")
		case busy:
			r.refuse(w, Busy, http.StatusTooManyRequests, "too many unknown tokens; try again later")
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			r.refuse(w, Unauthenticated, http.StatusUnauthorized, "send the token of a service account that may get "+r.Path)
		}
	})
}

func (r *Reviewer) refuse(w http.ResponseWriter, reason string, status int, text string) {
	r.Rejected(reason)
	http.Error(w, text, status)
}

// ask returns the answer for a token: a remembered one, or the API server's.
func (r *Reviewer) ask(ctx context.Context, token string, client netip.Addr) answer {
	key := sha256.Sum256([]byte(token)) // the token itself is not kept
	now := time.Now()
	r.mu.Lock()
	known, ok := r.answers.get(key, now)
	if ok && now.Before(known.askAgain) {
		r.mu.Unlock()
		return known
	}
	if !r.budget.begin(client, ok, now) {
		r.mu.Unlock()
		if ok {
			return known
		}
		return answer{verdict: busy}
	}
	r.mu.Unlock()

	// A client that leaves must not end the review: it could keep a right that it has lost.
	review, err := r.review(context.WithoutCancel(ctx), token)
	if err != nil {
		r.complain(err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget.end()
	now = time.Now()
	if err == nil {
		return r.answers.put(key, review, now)
	}
	if !ok {
		return answer{verdict: unavailable}
	}
	r.answers.keep(key, known, now)
	return known
}

func (r *Reviewer) complain(err error) {
	r.complaint.Do(func() {
		r.Log.Warn("the API server does not say who may read the metrics", "error", err,
			"hint", "if it refuses, apply the RBAC rules of this version: the speaker needs the ClusterRole system:auth-delegator")
	})
}

// clientOf returns the address of a request's client, or the zero Addr.
func clientOf(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}
