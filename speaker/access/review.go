package access

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// reviewTimeout bounds both requests together. A scrape should get an answer before
	// Prometheus gives up after ten seconds.
	reviewTimeout = 3 * time.Second
	// maxToken is in bytes. The tokens of service accounts have about 1,200.
	maxToken = 8 << 10
)

// bearerToken returns the token in an Authorization header (RFC 6750, section 2.1).
func bearerToken(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || len(token) > maxToken {
		return "", false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", false
		}
	}
	return token, true
}

// review asks the API server about a token. An error means that it did not answer.
func (r *Reviewer) review(ctx context.Context, token string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	who, err := r.Tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return answer{}, fmt.Errorf("reviewing a token: %w", err)
	}
	if !who.Status.Authenticated {
		return answer{verdict: unauthenticated}, nil
	}
	user := who.Status.User
	may, err := r.Rights.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra(user.Extra),
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: r.Path, Verb: "get"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return answer{}, fmt.Errorf("reviewing the rights of %q: %w", user.Username, err)
	}
	if !may.Status.Allowed || may.Status.Denied {
		return answer{verdict: forbidden, user: user.Username}, nil
	}
	return answer{verdict: allowed, user: user.Username}, nil
}

func extra(of map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	if of == nil {
		return nil
	}
	same := make(map[string]authorizationv1.ExtraValue, len(of))
	for key, values := range of {
		same[key] = authorizationv1.ExtraValue(values)
	}
	return same
}
