package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	k8stesting "k8s.io/client-go/testing"
)

// apiServer answers reviews. Its tokens are names of users.
type apiServer struct {
	mu      sync.Mutex
	users   map[string]bool // whether each of them may get /metrics
	away    error
	delay   time.Duration
	reviews int // of tokens
	rights  []authorizationv1.SubjectAccessReviewSpec
}

func (a *apiServer) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// slowTokens are reviews that take a time. (The fake client holds a lock while it answers.)
type slowTokens struct {
	authenticationclient.TokenReviewInterface
	api *apiServer
}

func (s slowTokens) Create(ctx context.Context, review *authenticationv1.TokenReview, o metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	s.api.mu.Lock()
	delay := s.api.delay
	s.api.mu.Unlock()
	time.Sleep(delay)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.TokenReviewInterface.Create(ctx, review, o)
}

// rig is a Reviewer with its API server.
type rig struct {
	*Reviewer
	api      *apiServer
	rejected map[string]int
	log      bytes.Buffer
}

func newRig() *rig {
	r := &rig{api: &apiServer{users: map[string]bool{"prometheus": true, "intern": false}}, rejected: map[string]int{}}
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		a := r.api
		a.mu.Lock()
		defer a.mu.Unlock()
		a.reviews++
		review := action.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		_, review.Status.Authenticated = a.users[review.Spec.Token]
		review.Status.User = authenticationv1.UserInfo{
			Username: review.Spec.Token, UID: "7", Groups: []string{"monitors"}, Extra: map[string]authenticationv1.ExtraValue{"pod": {"p"}},
		}
		return true, review, a.away
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		a := r.api
		a.mu.Lock()
		defer a.mu.Unlock()
		review := action.(k8stesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		a.rights = append(a.rights, review.Spec)
		review.Status.Allowed = a.users[review.Spec.User]
		return true, review, a.away
	})
	var mu sync.Mutex
	r.Reviewer = New(Options{
		Tokens: slowTokens{client.AuthenticationV1().TokenReviews(), r.api}, Rights: client.AuthorizationV1().SubjectAccessReviews(), Path: "/metrics",
		Rejected: func(reason string) { mu.Lock(); defer mu.Unlock(); r.rejected[reason]++ }, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	return r
}

// get asks for the page from an address, and returns the status and the body.
func (r *rig) get(header, from string) (int, string) {
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.RemoteAddr = from + ":1234"
	if header != "" {
		request.Header.Set("Authorization", header)
	}
	w := httptest.NewRecorder()
	r.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })).ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

// status is the status that a token gets.
func (r *rig) status(token string) int {
	status, _ := r.get("Bearer "+token, "192.0.2.1")
	return status
}

func TestClientGetsWhatTheAPIServerAllows(t *testing.T) {
	for name, test := range map[string]struct {
		header string
		away   error
		status int
		body   string
		reason string
	}{
		"allowed":               {"Bearer prometheus", nil, http.StatusOK, "page", ""},
		"scheme in lower case":  {"bearer prometheus", nil, http.StatusOK, "page", ""},
		"no token":              {"", nil, http.StatusUnauthorized, "send the token", Unauthenticated},
		"another scheme":        {"Basic prometheus", nil, http.StatusUnauthorized, "send the token", Unauthenticated},
		"unknown token":         {"Bearer stranger", nil, http.StatusUnauthorized, "send the token", Unauthenticated},
		"a user without rights": {"Bearer intern", nil, http.StatusForbidden, `"intern" must not get /metrics: bind the ClusterRole baremetal-metrics-reader`, Forbidden},
		"the API server is away": {"Bearer prometheus", errors.New("connection refused"), http.StatusServiceUnavailable,
			"the API server does not say", Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			r.api.away = test.away
			status, body := r.get(test.header, "192.0.2.1")
			if status != test.status || !strings.Contains(body, test.body) || status != http.StatusOK && strings.Contains(body, "page") {
				t.Errorf("status %d, body %q", status, body)
			}
			want := map[string]int{}
			if test.reason != "" {
				want[test.reason] = 1
			}
			if !reflect.DeepEqual(r.rejected, want) {
				t.Errorf("rejected: %v", r.rejected)
			}
		})
	}
}

func TestReviewAsksForTheWholeUser(t *testing.T) {
	r := newRig()
	r.status("prometheus")
	want := []authorizationv1.SubjectAccessReviewSpec{{
		User: "prometheus", UID: "7", Groups: []string{"monitors"}, Extra: map[string]authorizationv1.ExtraValue{"pod": {"p"}},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
	}}
	if !reflect.DeepEqual(r.api.rights, want) {
		t.Errorf("%+v", r.api.rights)
	}
}

func TestAnswersAreRememberedForTheirTime(t *testing.T) {
	for token, remembered := range map[string]time.Duration{"prometheus": allowedFor, "intern": refusedFor, "stranger": refusedFor} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig()
			first := r.status(token)
			for range 100 {
				time.Sleep(remembered/100 - time.Millisecond)
				if got := r.status(token); got != first {
					t.Errorf("%s: status %d, then %d", token, first, got)
				}
			}
			if r.api.reviews != 1 {
				t.Errorf("%s: %d reviews in %v", token, r.api.reviews, remembered)
			}
			time.Sleep(time.Second)
			if r.status(token); r.api.reviews != 2 {
				t.Errorf("%s: %d reviews after %v", token, r.api.reviews, remembered)
			}
		})
	}
}

func TestRightThatWasTakenEndsWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		if got := r.status("prometheus"); got != http.StatusOK {
			t.Fatal(got)
		}
		r.api.set(func() { r.api.users["prometheus"] = false })
		time.Sleep(allowedFor)
		// A client that leaves before the answer must not win time.
		ctx, leave := context.WithCancel(t.Context())
		leave()
		r.ask(ctx, "prometheus", netip.MustParseAddr("192.0.2.1"))
		if got := r.status("prometheus"); got != http.StatusForbidden {
			t.Errorf("status %d", got)
		}
	})
}

func TestAllowedClientStaysAllowedWithoutTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		begun := time.Now()
		r.status("prometheus")
		r.api.set(func() { r.api.away = errors.New("connection refused") })
		for time.Since(begun) < allowedWithoutAPI {
			if got := r.status("prometheus"); got != http.StatusOK {
				t.Fatalf("status %d after %v", got, time.Since(begun))
			}
			time.Sleep(5 * time.Second)
		}
		if got := r.status("prometheus"); got != http.StatusServiceUnavailable {
			t.Errorf("status %d after %v", got, time.Since(begun))
		}
		if most := int(allowedWithoutAPI / refusedFor); r.api.reviews > most {
			t.Errorf("%d reviews, want %d at most", r.api.reviews, most)
		}
		if lines := strings.Count(r.log.String(), "\n"); lines < 5 || lines > 10 {
			t.Errorf("%d log lines in ten minutes:\n%s", lines, r.log.String())
		}
		r.api.set(func() { r.api.away = nil })
		time.Sleep(refusedFor)
		if got := r.status("prometheus"); got != http.StatusOK {
			t.Errorf("status %d when the API server is back", got)
		}
	})
}

func TestFloodOfBadTokensCausesFewReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.status("prometheus")
		time.Sleep(allowedFor)
		flood := func(client string) {
			for i := range 1000 {
				r.get(fmt.Sprintf("Bearer %s-%d", client, i), client)
			}
		}
		flood("192.0.2.66")
		if r.api.reviews != 1+maxUnknownPerClient {
			t.Errorf("one client caused %d reviews", r.api.reviews-1)
		}
		for i := range 100 {
			flood(fmt.Sprint("192.0.2.", 100+i))
		}
		if r.api.reviews != 1+maxUnknown {
			t.Errorf("all clients caused %d reviews", r.api.reviews-1)
		}
		if r.rejected[Busy] != 101_000-maxUnknown {
			t.Errorf("rejected: %v", r.rejected)
		}
		if got := r.status("prometheus"); got != http.StatusOK || r.api.reviews != 2+maxUnknown {
			t.Errorf("a client that was allowed before gets %d, after %d reviews", got, r.api.reviews)
		}
		time.Sleep(budgetTime)
		r.api.set(func() { r.api.users["other"] = true })
		if got := r.status("other"); got != http.StatusOK {
			t.Errorf("after the flood a new client gets %d", got)
		}
	})
}

func TestReviewsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.status("prometheus")
		time.Sleep(allowedFor)
		r.api.set(func() { r.api.delay = time.Second })
		var waiting sync.WaitGroup
		for i := range 3 * maxInFlight {
			waiting.Go(func() { r.get(fmt.Sprint("Bearer slow-", i), fmt.Sprint("192.0.2.", i)) })
		}
		time.Sleep(time.Millisecond)
		if r.mu.Lock(); r.budget.inFlight != maxInFlight {
			t.Errorf("%d reviews are in flight", r.budget.inFlight)
		}
		r.mu.Unlock()
		if got := r.status("prometheus"); got != http.StatusOK {
			t.Errorf("a client that was allowed before gets %d", got)
		}
		waiting.Wait()
		if r.budget.inFlight != 0 || r.api.reviews != 1+maxInFlight {
			t.Errorf("%d reviews were made, %d are in flight", r.api.reviews, r.budget.inFlight)
		}
	})
}

func TestRememberedAnswersAreBounded(t *testing.T) {
	a, begun := answers{}, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a.put([32]byte{1}, answer{verdict: allowed}, begun)
	for i := range 10 * maxAnswers {
		a.put([32]byte{2, byte(i), byte(i >> 8)}, answer{verdict: unauthenticated}, begun.Add(time.Duration(i)*time.Millisecond))
	}
	if len(a) != maxAnswers {
		t.Errorf("%d answers are remembered", len(a))
	}
	if got, ok := a.get([32]byte{1}, begun); !ok || got.verdict != allowed {
		t.Error("refusals have replaced the client that is allowed")
	}
	a.put([32]byte{3}, answer{verdict: forbidden}, begun.Add(time.Hour))
	if len(a) != 1 {
		t.Errorf("%d answers are remembered after they have ended", len(a))
	}
}

func TestTokensAreNotKept(t *testing.T) {
	r := newRig()
	r.api.users["a-secret-token"] = true
	r.status("a-secret-token")
	for key, got := range r.answers {
		got.user = "" // here the user has the name of the token
		if text := fmt.Sprintf("%s %+v", key[:], got); strings.Contains(text, "secret") {
			t.Errorf("remembered: %s", text)
		}
	}
	if len(r.answers) != 1 || strings.Contains(r.log.String(), "secret") {
		t.Errorf("%d answers, log %s", len(r.answers), r.log.String())
	}
}

func FuzzBearerToken(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer x", "bearer  x.y_z-1=", "Bearer x y", "Bearer \x00", "Basic x", strings.Repeat("x", maxToken)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := bearerToken(header)
		if !ok {
			if token != "" {
				t.Errorf("a token that is not valid is returned: %q", token)
			}
			return
		}
		if token == "" || len(token) > maxToken || !strings.HasSuffix(header, token) || strings.ContainsAny(token, " \t\r\n\x00") {
			t.Errorf("token %q of %q", token, header)
		}
	})
}
