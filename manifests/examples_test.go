// Package manifests_test checks that the example configurations are valid, and what the
// manifests allow the programs.
package manifests_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func TestExamplesAreValidConfigurations(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples: %v (%v)", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cm v1.ConfigMap
		if err := yaml.UnmarshalStrict(text, &cm); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if ref := (configmap.Ref{Namespace: cm.Namespace, Name: cm.Name}); ref != configmap.DefaultRef {
			t.Errorf("%s is the ConfigMap %s, which the programs do not read by default", file, &ref)
		}
		if c, err := config.Parse([]byte(cm.Data[configmap.Key])); err != nil || len(c.Pools) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// roles returns the Roles and ClusterRoles in a file.
func roles(t *testing.T, file string) (roles []rbacv1.Role) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var role rbacv1.Role
		if err := yaml.Unmarshal(document, &role); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if role.Kind == "Role" || role.Kind == "ClusterRole" {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		t.Fatalf("%s has no Role", file)
	}
	return roles
}

// readable returns the names of the Secrets that Roles allow to read. "*" stands for all.
func readable(roles []rbacv1.Role) (names []string) {
	for _, role := range roles {
		for _, rule := range role.Rules {
			reads := slices.ContainsFunc(rule.Verbs, func(verb string) bool { return verb != "create" })
			if slices.Contains(rule.Resources, "secrets") && reads {
				names = append(names, rule.ResourceNames...)
				if len(rule.ResourceNames) == 0 {
					names = append(names, "*")
				}
			}
		}
	}
	return names
}

func TestManifestsAllowNoListOfAllSecrets(t *testing.T) {
	for _, file := range []string{"rbac-speaker.yaml", "rbac-ccm.yaml", "report-dead-nodes/rbac.yaml"} {
		if got := readable(roles(t, file)); slices.Contains(got, "*") {
			t.Errorf("%s allows to read the Secrets %v", file, got)
		}
	}
	if got := readable(roles(t, "rbac-speaker.yaml")); !slices.Contains(got, "memberlist") {
		t.Errorf("the speaker may read the Secrets %v: the test looks in the wrong place", got)
	}
}

// Without the policy, a speaker that is compromised could write any status. Who removes the file of the policy
// also removes the right.
func TestSpeakersWriteStatusesOnlyWithThePolicy(t *testing.T) {
	patches := func(file string) bool {
		return slices.ContainsFunc(roles(t, file), func(role rbacv1.Role) bool {
			return slices.ContainsFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "services/status") })
		})
	}
	if patches("rbac-speaker.yaml") || !patches("policy.yaml") {
		t.Errorf("rbac-speaker.yaml allows to write statuses: %v; policy.yaml: %v", patches("rbac-speaker.yaml"), patches("policy.yaml"))
	}
}

func TestExampleRoleAllowsThePasswordsOfTheExample(t *testing.T) {
	text, err := os.ReadFile("examples/bgp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cm v1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &cm); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(cm.Data[configmap.Key]))
	if err != nil {
		t.Fatal(err)
	}
	allowed, used := readable(roles(t, "examples/rbac/bgp-passwords.yaml")), 0
	for _, peer := range c.Peers {
		if used++; !slices.Contains(allowed, peer.PasswordSecret) {
			t.Errorf("the Role allows %v, and the peer %s has the Secret %q", allowed, peer.Name, peer.PasswordSecret)
		}
	}
	if used == 0 || slices.Contains(allowed, "*") {
		t.Errorf("%d peers; the Role allows %v", used, allowed)
	}
}
