package view

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

const namespace = "baremetal-system"

// secretsRig are passwords with an API server that lets the speaker read Secrets by name
// only, as RBAC rules with resourceNames do.
type secretsRig struct {
	*passwords
	t      *testing.T
	client kubernetes.Interface
	wakes  chan struct{}

	mu       sync.Mutex
	allowed  map[string]bool
	watches  map[string]int // open, by name
	refusals int
}

// newSecretsRig starts passwords in a bubble of synctest. They end when the test ends.
func newSecretsRig(t *testing.T, allowed ...string) *secretsRig {
	client := fake.NewClientset()
	r := &secretsRig{t: t, client: client, wakes: make(chan struct{}, 1000), allowed: map[string]bool{}, watches: map[string]int{}}
	for _, name := range allowed {
		r.allowed[name] = true
	}
	client.PrependReactor("list", "secrets", func(action k8stesting.Action) (bool, runtime.Object, error) {
		name, err := r.authorize(action.(k8stesting.ListAction).GetListRestrictions())
		if err != nil {
			return true, nil, err
		}
		list := &v1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		found, err := client.Tracker().Get(v1.SchemeGroupVersion.WithResource("secrets"), namespace, name)
		if err == nil {
			list.Items = append(list.Items, *found.(*v1.Secret))
		} else if !apierrors.IsNotFound(err) {
			return true, nil, err
		}
		return true, list, nil
	})
	client.PrependWatchReactor("secrets", func(action k8stesting.Action) (bool, watch.Interface, error) {
		name, err := r.authorize(action.(k8stesting.WatchAction).GetWatchRestrictions())
		if err != nil {
			return true, nil, err
		}
		all, err := client.Tracker().Watch(v1.SchemeGroupVersion.WithResource("secrets"), namespace)
		if err != nil {
			return true, nil, err
		}
		r.count(name, 1)
		return true, counted{watch.Filter(all, func(e watch.Event) (watch.Event, bool) {
			secret, ok := e.Object.(*v1.Secret)
			return e, ok && secret.Name == name
		}), sync.OnceFunc(func() { r.count(name, -1) })}, nil
	})
	r.passwords = newPasswords(client, namespace, func() { r.wakes <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// authorize returns the name in the field selector, if the speaker may read that Secret.
func (r *secretsRig) authorize(by any) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var selector string
	switch by := by.(type) {
	case k8stesting.ListRestrictions:
		selector = by.Fields.String()
	case k8stesting.WatchRestrictions:
		selector = by.Fields.String()
	}
	name, ok := strings.CutPrefix(selector, "metadata.name=")
	if !ok {
		r.t.Errorf("the speaker asks for all Secrets (field selector %q)", selector)
	}
	if !r.allowed[name] {
		r.refusals++
		return "", apierrors.NewForbidden(v1.Resource("secrets"), name, fmt.Errorf("RBAC"))
	}
	return name, nil
}

// counted is a watch that counts when it is stopped.
type counted struct {
	watch.Interface
	stopped func()
}

func (c counted) Stop() { c.stopped(); c.Interface.Stop() }

func (r *secretsRig) count(name string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watches[name] += n; r.watches[name] == 0 {
		delete(r.watches, name)
	}
}

func (r *secretsRig) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watches)
}

func (r *secretsRig) create(name, password string, kind v1.SecretType) {
	r.t.Helper()
	_, err := r.client.CoreV1().Secrets(namespace).Create(r.t.Context(), &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: kind, Data: map[string][]byte{"password": []byte(password)},
	}, metav1.CreateOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *secretsRig) remove(name string) {
	r.t.Helper()
	if err := r.client.CoreV1().Secrets(namespace).Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// expect waits until the informers have done what they can do now, and checks what read
// returns: a password, or an error that contains problem.
func (r *secretsRig) expect(step, name, password, problem string) {
	r.t.Helper()
	synctest.Wait()
	got, err := r.read(name)
	if got != password || (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
		r.t.Errorf("%s: password %q, error %v", step, got, err)
	}
}

func TestPasswordFollowsItsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSecretsRig(t, "router")
		r.create("other", "not for speakers", v1.SecretTypeBasicAuth)
		r.want([]string{"router", "router"}) // of two peers
		r.expect("no Secret", "router", "", "there is no Secret baremetal-system/router of type kubernetes.io/basic-auth: kubectl -n baremetal-system create secret generic router --type=kubernetes.io/basic-auth")
		if len(r.wakes) == 0 {
			t.Error("the loop is not woken when it is known that there is no Secret")
		}
		r.create("router", "sesame", v1.SecretTypeBasicAuth)
		r.expect("created", "router", "sesame", "")
		r.remove("router")
		r.expect("deleted: the session goes on", "router", "sesame", "")
		r.create("router", "", v1.SecretTypeBasicAuth)
		r.expect("created without a password: the session goes on", "router", "sesame", "")
		r.remove("router")
		r.create("router", "sesame2", v1.SecretTypeBasicAuth)
		r.expect("created again", "router", "sesame2", "")
		r.expect("another Secret", "other", "", "is not read")
	})
}

func TestForbiddenSecretNamesTheCommandThatAllowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSecretsRig(t)
		r.create("router", "sesame", v1.SecretTypeBasicAuth)
		r.want([]string{"router"})
		r.expect("no Role", "router", "", "the speaker may not read the Secret baremetal-system/router; allow it: "+
			"kubectl -n baremetal-system create role baremetal-speaker-router --verb=get,list,watch --resource=secrets --resource-name=router && "+
			"kubectl -n baremetal-system create rolebinding baremetal-speaker-router --role=baremetal-speaker-router --serviceaccount=baremetal-system:baremetal-speaker")
		if len(r.wakes) == 0 {
			t.Error("the loop is not woken")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if r.refusals > 60 {
			t.Errorf("%d requests in ten minutes", r.refusals)
		}
		r.mu.Lock()
		r.allowed["router"] = true
		r.mu.Unlock()
		time.Sleep(time.Minute)
		r.expect("with a Role", "router", "sesame", "")
		r.mu.Lock()
		delete(r.allowed, "router")
		r.mu.Unlock()
		r.expect("the Role was deleted: the session goes on", "router", "sesame", "")
	})
}

func TestSecretIsWatchedWhileAPeerNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSecretsRig(t, "a", "b")
		r.create("a", "first", v1.SecretTypeBasicAuth)
		r.create("b", "second", v1.SecretTypeBasicAuth)
		r.want([]string{"a"})
		r.expect("a alone", "a", "first", "")
		r.want([]string{"b", "a"})
		r.expect("a and b", "b", "second", "")
		if got := r.open(); got != 2 {
			t.Errorf("%d Secrets are watched, want 2", got)
		}
		r.want([]string{"b"})
		synctest.Wait()
		if got := r.open(); got != 1 || r.watches["b"] != 1 {
			t.Errorf("%d Secrets are watched (%v), want b alone", got, r.watches)
		}
		r.expect("a is not wanted", "a", "", "is not read")
		r.want(nil)
		r.remove("a")
		r.want([]string{"a"})
		r.expect("what was known of a is forgotten", "a", "", "there is no Secret")
	})
}

func TestSecretThatCannotBeUsedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSecretsRig(t, "key", "empty")
		r.create("key", "of another program", v1.SecretTypeOpaque)
		r.create("empty", "", v1.SecretTypeBasicAuth)
		r.want([]string{"key", "empty", "x; reboot"})
		r.expect("another type", "key", "", "has the type Opaque; delete it")
		r.expect("no password", "empty", "", `has no "password" in its data`)
		r.expect("no name", "x; reboot", "", `"x; reboot" is not the name of a Secret`)
	})
}

func TestNumberOfWatchedSecretsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSecretsRig(t)
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprint("router-", i))
		}
		r.mu.Lock()
		for _, name := range names {
			r.allowed[name] = true
		}
		r.mu.Unlock()
		r.want(names)
		r.expect("the first", "router-0", "", "there is no Secret")
		r.expect("the last", "router-999", "", "name more than 50 Secrets")
		if got := r.open(); got != maxSecrets {
			t.Errorf("%d Secrets are watched", got)
		}
	})
}
