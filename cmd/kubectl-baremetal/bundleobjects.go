package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// addConfig adds the configuration of the operator and the one in use, without passwords. It must be called
// first: from then on, the bundle replaces these passwords.
func (b *bundle) addConfig(in *diagnose.Input, others ...*v1.ConfigMap) {
	for _, cm := range append([]*v1.ConfigMap{in.Config, in.InUse}, others...) {
		if cm == nil {
			continue
		}
		for _, text := range cm.Data {
			b.hide(config.Passwords([]byte(text)))
		}
	}
	for _, c := range []struct {
		folder, what string
		object       *v1.ConfigMap
	}{{"config/operator/", "the configuration", in.Config}, {"config/in-use/", "what the cluster manager publishes", in.InUse}} {
		if c.object == nil {
			b.miss(c.what, "the ConfigMap does not exist, or could not be read")
			continue
		}
		b.addConfigMap(c.folder, c.what, c.object)
	}
	for _, cm := range others {
		if cm != nil {
			b.addConfigMap("config/"+cm.Name+"/", "what the speakers publish", cm)
		}
	}
}

// addConfigMap adds each key of a ConfigMap as a file. A text from which passwords cannot be removed is left out.
func (b *bundle) addConfigMap(folder, what string, cm *v1.ConfigMap) {
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		text, err := config.RedactRefused([]byte(cm.Data[key]))
		if err != nil {
			b.miss(folder+key, err.Error())
			continue
		}
		name := folder + key
		if key == configmap.Key {
			name += ".yaml"
		}
		b.add(name, fmt.Sprintf("%s: key %q of ConfigMap %s/%s, resourceVersion %s", what, key, cm.Namespace, cm.Name, cm.ResourceVersion), text)
	}
}

// ourAnnotations begin the names of the annotations that are kept. Others can have anything, like a whole
// manifest with what was in it before.
var ourAnnotations = []string{"lb.baremetal/", "metallb.io/", "metallb.universe.tf/"}

// addObjects adds objects of one kind as one YAML file.
func addObjects[T any, P interface {
	*T
	runtime.Object
	metav1.Object
}](b *bundle, name, what string, objects []P) {
	var t bytes.Buffer
	for _, object := range objects {
		if object == nil {
			continue
		}
		copied := object.DeepCopyObject().(P)
		copied.SetManagedFields(nil)
		annotations := copied.GetAnnotations()
		withoutOthers(annotations)
		copied.SetAnnotations(annotations)
		if kinds, _, err := scheme.Scheme.ObjectKinds(copied); err == nil && len(kinds) > 0 {
			copied.GetObjectKind().SetGroupVersionKind(kinds[0])
		}
		text, err := yaml.Marshal(copied)
		if err != nil {
			b.miss(what, err.Error())
			return
		}
		t.WriteString("---\n")
		t.Write(text)
	}
	b.add(name, fmt.Sprintf("%s (%d)", what, len(objects)), t.Bytes())
}

// withoutValues returns pods without the values of their environment variables, which can be secret.
func withoutValues(pods []*v1.Pod) []*v1.Pod {
	copies := make([]*v1.Pod, len(pods))
	for i, pod := range pods {
		copies[i] = pod.DeepCopy()
		hideValues(&copies[i].Spec)
	}
	return copies
}

func hideValues(spec *v1.PodSpec) {
	hide := func(env []v1.EnvVar) {
		for i := range env {
			if e := &env[i]; e.Value != "" && e.Name != "GOMEMLIMIT" {
				e.Value = "(removed)"
			}
		}
	}
	for _, containers := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			hide(containers[i].Env)
		}
	}
	for i := range spec.EphemeralContainers {
		hide(spec.EphemeralContainers[i].Env)
		spec.EphemeralContainers[i].Args = nil // of an administrator, not of the product
	}
}

// withoutOthers removes the annotations of other products.
func withoutOthers(annotations map[string]string) {
	maps.DeleteFunc(annotations, func(name, _ string) bool {
		return !slices.ContainsFunc(ourAnnotations, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}

// ofServices returns the objects that belong to Services of the product.
func ofServices[T any](objects []T, name func(T) string, services map[string]bool) (ours []T) {
	for _, object := range objects {
		if services[name(object)] {
			ours = append(ours, object)
		}
	}
	return ours
}

// maxEvents is how many Events the bundle has, the newest ones.
const maxEvents = 2000

// newest returns the newest Events, the oldest one first.
func newest(events []*v1.Event) []*v1.Event {
	at := func(e *v1.Event) int64 {
		return max(e.LastTimestamp.UnixNano(), e.EventTime.UnixNano(), e.FirstTimestamp.UnixNano(), e.CreationTimestamp.UnixNano())
	}
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(x, y *v1.Event) int { return cmp.Compare(at(x), at(y)) })
	return sorted[max(0, len(sorted)-maxEvents):]
}
