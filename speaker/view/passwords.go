package view

import (
	"context"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

const (
	// serviceAccount is the speakers' service account in the manifests.
	serviceAccount = "baremetal-speaker"
	// maxSecrets bounds what a configuration costs: each watch has a request of its own.
	maxSecrets = 50
)

// passwords are the passwords of BGP peers, from Secrets of type kubernetes.io/basic-auth in
// one namespace. Each Secret is watched by its name, so the speakers need no right to list
// all Secrets.
type passwords struct {
	client    kubernetes.Interface
	namespace string
	changed   func()
	wake      signal.Signal // wanted has changed

	mu     sync.Mutex
	wanted map[string]*secret // by name
}

// secret is what is known about a Secret.
type secret struct {
	name string

	mu        sync.Mutex
	listed    bool       // the API server has said whether it exists
	forbidden bool       // the API server has refused the last request
	object    *v1.Secret // nil if it does not exist
	// last is the last known password. If the Secret is deleted, the session goes on.
	last string
}

// WatchPasswords begins to watch the Secrets of the peers of a node, so that they are known
// when the first plan is made. Later the Reader does that.
func (c *Cluster) WatchPasswords(node string, cfg *config.Config) {
	if n := c.Node(node); n != nil && cfg != nil {
		c.watchPasswords(cfg, n.Labels)
	}
}

func (c *Cluster) watchPasswords(cfg *config.Config, nodeLabels map[string]string) {
	var names []string
	for _, p := range cfg.Peers {
		if p.PasswordSecret != "" && p.Selects(nodeLabels) {
			names = append(names, p.PasswordSecret)
		}
	}
	c.passwords.want(names)
}

func newPasswords(client kubernetes.Interface, namespace string, changed func()) *passwords {
	return &passwords{client: client, namespace: namespace, changed: changed, wake: signal.New(), wanted: map[string]*secret{}}
}

// want replaces the names of the Secrets to watch. Only the first maxSecrets are watched, and
// only names that a Secret can have. It does not wait.
func (p *passwords) want(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string]*secret{}
	same := true
	for _, name := range names {
		if wanted[name] != nil || len(wanted) == maxSecrets || !isName(name) {
			continue
		}
		if wanted[name] = p.wanted[name]; wanted[name] == nil {
			wanted[name], same = &secret{name: name}, false
		}
	}
	if same && len(wanted) == len(p.wanted) {
		return
	}
	p.wanted = wanted
	p.wake.Set()
}

// isName reports whether a Secret can have this name.
func isName(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }

// run watches the wanted Secrets until ctx ends.
func (p *passwords) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	stop := map[*secret]context.CancelFunc{}
	for {
		p.mu.Lock()
		wanted := p.wanted
		p.mu.Unlock()
		for s, end := range stop {
			if wanted[s.name] != s {
				end()
				delete(stop, s)
			}
		}
		for _, s := range wanted {
			if stop[s] == nil {
				watch, end := context.WithCancel(ctx)
				stop[s] = end
				watching.Go(func() { p.watch(watch, s) })
			}
		}
		select {
		case <-p.wake.C():
		case <-ctx.Done():
			for _, end := range stop {
				end()
			}
			return
		}
	}
}

// watch watches one Secret until ctx ends. The field selector makes RBAC rules with
// resourceNames apply.
func (p *passwords) watch(ctx context.Context, s *secret) {
	informer := coreinformers.NewFilteredSecretInformer(p.client, p.namespace, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, s.name).String()
	})
	_ = informer.SetTransform(slim) // fails only after the start
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if !apierrors.IsForbidden(err) {
			cache.DefaultWatchErrorHandler(ctx, r, err)
			return
		}
		s.set(func() { s.forbidden = true }) // the session's problem says it
		p.changed()
	})
	update := func(object any) {
		s.set(func() { s.object, _ = object.(*v1.Secret) })
		p.changed()
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: update, UpdateFunc: func(_, now any) { update(now) }, DeleteFunc: func(any) { update(nil) },
	})
	if err != nil { // only after the end
		return
	}
	var listing sync.WaitGroup
	defer listing.Wait()
	listing.Go(func() {
		select {
		case <-registration.HasSyncedChecker().Done():
			s.set(func() {})
			p.changed()
		case <-ctx.Done():
		}
	})
	informer.RunWithContext(ctx)
}

// set changes what is known after an answer of the API server.
func (s *secret) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed, s.forbidden = true, false
	change()
	if s.object != nil && s.object.Type == v1.SecretTypeBasicAuth && len(s.object.Data[v1.BasicAuthPasswordKey]) > 0 {
		s.last = string(s.object.Data[v1.BasicAuthPasswordKey])
	}
}

// read returns the password in a Secret that is wanted. The error says what to do.
func (p *passwords) read(name string) (string, error) {
	p.mu.Lock()
	s := p.wanted[name]
	p.mu.Unlock()
	if s == nil && !isName(name) {
		return "", fmt.Errorf("password-secret: %s is not the name of a Secret; use lower-case letters, digits, dots and hyphens", quote.Short(name))
	}
	if s == nil {
		return "", fmt.Errorf("the Secret %s/%s is not read, because the peers of this node name more than %d Secrets: let several peers use one Secret", p.namespace, name, maxSecrets)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	create := fmt.Sprintf("kubectl -n %s create secret generic %s --type=%s --from-literal=password=…", p.namespace, name, v1.SecretTypeBasicAuth)
	switch {
	case s.last != "":
		return s.last, nil
	case s.forbidden:
		return "", fmt.Errorf("the speaker may not read the Secret %s/%s; allow it: %s", p.namespace, name, p.grant(name))
	case !s.listed:
		return "", fmt.Errorf("the Secret %s/%s has not been read yet", p.namespace, name)
	case s.object == nil:
		return "", fmt.Errorf("there is no Secret %s/%s of type %s: %s", p.namespace, name, v1.SecretTypeBasicAuth, create)
	case s.object.Type != v1.SecretTypeBasicAuth:
		return "", fmt.Errorf("the Secret %s/%s has the type %s; delete it, and create it with another type: %s", p.namespace, name, s.object.Type, create)
	}
	return "", fmt.Errorf("the Secret %s/%s has no %q in its data", p.namespace, name, v1.BasicAuthPasswordKey)
}

// grant returns the commands that allow the speakers to read a Secret.
func (p *passwords) grant(name string) string {
	role := serviceAccount + "-" + name
	return fmt.Sprintf("kubectl -n %[1]s create role %[2]s --verb=get,list,watch --resource=secrets --resource-name=%[3]s && "+
		"kubectl -n %[1]s create rolebinding %[2]s --role=%[2]s --serviceaccount=%[1]s:%[4]s", p.namespace, role, name, serviceAccount)
}
