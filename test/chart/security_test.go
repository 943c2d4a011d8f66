package chart

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// The API server's own checks of Pod Security, at its newest version.
func TestClusterManagerSatisfiesThePodSecurityLevelRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for name, objects := range map[string]objects{"manifests": manifests(t, "manifests"), "chart": mustRender(t, "")} {
		var manager appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects["Deployment/baremetal-cloud-controller-manager"].Object, &manager); err != nil {
			t.Fatal(err)
		}
		pod := manager.Spec.Template
		if got := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)); !got.Allowed {
			t.Errorf("%s: the cluster manager violates %s: %s", name, got.ForbiddenReason(), got.ForbiddenDetail())
		}
		var speaker appsv1.DaemonSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects["DaemonSet/baremetal-speaker"].Object, &speaker); err != nil {
			t.Fatal(err)
		}
		pod = speaker.Spec.Template
		if policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)).Allowed {
			t.Errorf("%s: the speaker satisfies the level, too: the test checks nothing, or the namespace needs no level privileged", name)
		}
		if name == "manifests" {
			continue
		}
		var test v1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects["Pod/baremetal-test-config"].Object, &test); err != nil {
			t.Fatal(err)
		}
		if got := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &test.ObjectMeta, &test.Spec)); !got.Allowed {
			t.Errorf("the pod of helm test violates %s: %s", got.ForbiddenReason(), got.ForbiddenDetail())
		}
	}
}
