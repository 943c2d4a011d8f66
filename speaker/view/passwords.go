package view

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// passwords are the passwords of BGP peers, from Secrets of type
// kubernetes.io/basic-auth in one namespace.
type passwords struct {
	namespace string
	factory   informers.SharedInformerFactory
	lister    corelisters.SecretNamespaceLister
	synced    cache.InformerSynced
	// last is the last known password of each Secret. If a Secret is deleted, the
	// session goes on.
	last map[string]string
}

func newPasswords(client kubernetes.Interface, namespace string, changed func()) (*passwords, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "type=" + string(v1.SecretTypeBasicAuth) }))
	secrets := factory.Core().V1().Secrets()
	registration, err := secrets.Informer().AddEventHandler(onEvery(changed))
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	return &passwords{namespace: namespace, factory: factory, lister: secrets.Lister().Secrets(namespace), synced: registration.HasSynced, last: map[string]string{}}, nil
}

// read returns the password in a Secret and remembers it. It is for one goroutine.
func (p *passwords) read(secret string) (string, error) {
	s, err := p.lister.Get(secret)
	if err == nil && len(s.Data[v1.BasicAuthPasswordKey]) > 0 {
		p.last[secret] = string(s.Data[v1.BasicAuthPasswordKey])
	}
	if password, ok := p.last[secret]; ok {
		return password, nil
	}
	switch {
	case !p.synced():
		return "", fmt.Errorf("the Secret %s/%s has not been read yet; check that the speaker may list and watch Secrets in that namespace", p.namespace, secret)
	case err != nil:
		return "", fmt.Errorf("there is no Secret %s/%s of type %s: kubectl -n %[1]s create secret generic %[2]s --type=%[3]s --from-literal=password=…", p.namespace, secret, v1.SecretTypeBasicAuth)
	}
	return "", fmt.Errorf("the Secret %s/%s has no %q in its data", p.namespace, secret, v1.BasicAuthPasswordKey)
}
