package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clienttesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// session is an operator who edits. Each function gets the text in the editor, and returns what
// the operator saves.
type session struct {
	*testCluster
	edits   []func(string) string
	opened  int
	answers string // what the operator types
	file    string
	yes     bool
	fails   error // of the editor
	path    string
	out     *bytes.Buffer
}

func (s *session) run(t *testing.T) error {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	simulator, out := s.simulator(s.answers)
	s.out = out
	e := &editor{simulator: simulator, file: s.file, yes: s.yes}
	e.open = func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.path = path; s.opened >= len(s.edits) {
			t.Fatalf("the editor opens again with\n%s", content)
		}
		now := s.edits[s.opened](string(content))
		s.opened++
		if err := os.WriteFile(path, []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		return s.fails
	}
	return e.run(t.Context())
}

// stored returns the ConfigMap.
func (s *session) stored(t *testing.T) *v1.ConfigMap {
	t.Helper()
	cm, err := s.client.CoreV1().ConfigMaps("baremetal-system").Get(t.Context(), "config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm
}

func replace(old, new string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, new, 1) }
}

var unchanged = replace("", "")

func TestEditWritesAfterAYes(t *testing.T) {
	for answer, written := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "no\n": false, "": false} {
		s := &session{testCluster: newTestCluster(t), edits: []func(string) string{replace("10.0.1.0/24", "10.0.1.0/25")}, answers: answer}
		if err := s.run(t); err != nil {
			t.Fatal(err)
		}
		want := inUse
		if written {
			want = strings.Replace(inUse, "/24", "/25", 1)
		}
		cm := s.stored(t)
		if cm.Data[configmap.Key] != want || cm.Data["other"] != "stays" {
			t.Errorf("%q: stored %q", answer, cm.Data)
		}
		left, err := os.ReadFile(s.path)
		if written != errors.Is(err, os.ErrNotExist) || !written && (string(left) != strings.Replace(inUse, "/24", "/25", 1) || !strings.Contains(s.out.String(), "Nothing was written. The text is in "+s.path)) {
			t.Errorf("%q: %v %q, printed\n%s", answer, err, left, s.out)
		}
		for _, part := range []string{"The configuration is valid: 1 pool", "no change for 1 Service\n", "With this configuration, no address would be announced in another way", "Apply? [y/N] "} {
			if !strings.Contains(s.out.String(), part) {
				t.Errorf("%q: %q is missing in\n%s", answer, part, s.out)
			}
		}
	}
}

func TestEditOpensAgainWithTheErrorsAboveTheText(t *testing.T) {
	s := &session{testCluster: newTestCluster(t), answers: "y\n"}
	s.edits = []func(string) string{
		replace("name: a", "name: a, colour: red"),
		func(text string) string {
			place := regexp.MustCompile(`baremetal-config-\d+\.yaml:(\d+):\d+: pool "a": colour: unknown key`).FindStringSubmatch(text)
			if place == nil {
				t.Fatalf("the error is missing in\n%s", text)
			}
			lines := strings.Split(text, "\n")
			for i, line := range lines {
				if strings.Contains(line, "- {name: a, colour: red") && !strings.HasPrefix(line, headerMark) && place[1] != strconv.Itoa(i+1) {
					t.Errorf("the error is said to be in line %s, but it is in line %d:\n%s", place[1], i+1, text)
				}
			}
			return strings.Join(lines[:len(lines)-2], "\n") + "\n- {name: b, protocol: layer2, addresses: [10.0.1.0/24]}\n"
		},
	}
	if err := s.run(t); err != nil {
		t.Fatal(err)
	}
	if got, want := s.stored(t).Data[configmap.Key], strings.Replace(inUse, "name: a", "name: b", 1); got != want {
		t.Errorf("stored %q", got)
	}
}

func TestEditShowsTheErrorsOfWhatIsInTheCluster(t *testing.T) {
	s := &session{testCluster: newTestCluster(t), edits: []func(string) string{func(text string) string {
		if !strings.Contains(text, "The text has errors:") || !strings.Contains(text, "addresses: ") {
			t.Errorf("the editor has\n%s", text)
		}
		return text
	}}}
	cm := s.stored(t)
	cm.Data[configmap.Key] = strings.Replace(inUse, "10.0.1.0/24", "10.0.1.0-24", 1)
	if _, err := s.client.CoreV1().ConfigMaps(cm.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t); err != nil || !strings.Contains(s.out.String(), "Nothing was written.") {
		t.Errorf("%v, printed\n%s", err, s.out)
	}
}

func TestEditIsCancelledByAnUnchangedOrEmptyText(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"unchanged":         unchanged,
		"empty":             func(string) string { return "" },
		"without header":    func(string) string { return inUse },
		"header only":       func(text string) string { return text[:strings.Index(text, inUse)] },
		"a line break more": func(text string) string { return text + "\n" },
	} {
		s := &session{testCluster: newTestCluster(t), edits: []func(string) string{edit}, answers: "y\n"}
		if err := s.run(t); err != nil || s.out.String() != "The configuration is unchanged. Nothing was written.\n" || s.stored(t).Data[configmap.Key] != inUse {
			t.Errorf("%s: %v, printed\n%s", name, err, s.out)
		}
		if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file is left: %v", name, err)
		}
	}
}

func TestEditKeepsATextThatItCannotUse(t *testing.T) {
	bad := replace("name: a", "name: a, colour: red")
	for name, tt := range map[string]struct {
		edits  []func(string) string
		fails  error
		status int
		want   string
	}{
		"the errors are left":  {edits: []func(string) string{bad, unchanged}, status: 1, want: "still has the errors"},
		"the editor has ended": {edits: []func(string) string{bad}, fails: errors.New("exit status 3"), status: 2, want: "running the editor: exit status 3"},
	} {
		s := &session{testCluster: newTestCluster(t), edits: tt.edits, fails: tt.fails}
		err := s.run(t)
		if err == nil || exitCode(err) != tt.status || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "The text is in "+s.path) {
			t.Errorf("%s: exit status %d, %v", name, exitCode(err), err)
		}
		if left, err := os.ReadFile(s.path); err != nil || !strings.Contains(string(left), "colour: red") {
			t.Errorf("%s: %v %q", name, err, left)
		}
		if s.stored(t).Data[configmap.Key] != inUse {
			t.Errorf("%s: it was written", name)
		}
	}
}

// conflictOnce makes the next update a conflict: change is made by another client first.
func conflictOnce(t *testing.T, s *session, change func(*v1.ConfigMap)) {
	t.Helper()
	cm, done := s.stored(t), false
	change(cm)
	s.client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		if done {
			return false, nil, nil
		}
		done = true
		// The client is locked here, but its store is not.
		if err := s.client.Tracker().Update(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, cm, cm.Namespace); err != nil {
			t.Error(err)
		}
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, cm.Name, errors.New("the object has been modified"))
	})
}

func TestEditDoesNotOverwriteTheChangeOfAnother(t *testing.T) {
	s := &session{testCluster: newTestCluster(t), edits: []func(string) string{replace("/24", "/25")}, answers: "y\n"}
	conflictOnce(t, s, func(cm *v1.ConfigMap) { cm.Data[configmap.Key] = "peers: []\n" })
	err := s.run(t)
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "was changed after it was read here") || !strings.Contains(err.Error(), "The text is in "+s.path) {
		t.Errorf("exit status %d, %v", exitCode(err), err)
	}
	if left, err := os.ReadFile(s.path); err != nil || string(left) != strings.Replace(inUse, "/24", "/25", 1) {
		t.Errorf("%v %q", err, left)
	}
	if got := s.stored(t).Data[configmap.Key]; got != "peers: []\n" {
		t.Errorf("stored %q", got)
	}
}

func TestEditIgnoresAnAnnotationThatWasWrittenMeanwhile(t *testing.T) {
	s := &session{testCluster: newTestCluster(t), edits: []func(string) string{replace("/24", "/25")}, answers: "y\n"}
	conflictOnce(t, s, func(cm *v1.ConfigMap) { cm.Annotations = map[string]string{"lb.baremetal/status": "in use"} })
	if err := s.run(t); err != nil {
		t.Fatal(err)
	}
	if cm := s.stored(t); cm.Data[configmap.Key] != strings.Replace(inUse, "/24", "/25", 1) || cm.Annotations["lb.baremetal/status"] == "" {
		t.Errorf("stored %v %q", cm.Annotations, cm.Data)
	}
}

func TestEditTakesAFileInAScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := strings.Replace(inUse, "layer2", "bgp", 1)
	for name, tt := range map[string]struct {
		content, stdin string
		file           string
		yes            bool
		status         int
		want           string
		written        bool
	}{
		"a file":             {content: text, file: file, yes: true, want: "warning: 1 address would be served by nobody: 10.0.1.1\n", written: true},
		"a manifest":         {content: inManifest("config", text), file: file, yes: true, want: "was written", written: true},
		"the standard input": {stdin: text, file: "-", yes: true, want: "was written", written: true},
		"a question":         {content: text, stdin: "n\n", file: file, want: "Nothing was written. The text is in " + file},
		"no answer possible": {stdin: text, file: "-", status: 2, want: "--filename - needs --yes"},
		"no such file":       {content: text, file: file + ".none", yes: true, status: 2, want: "no such file"},
		"a bad file":         {content: bad, file: file, yes: true, status: 1, want: file + ":4:15: pool \"a\": addresses: "},
		"the same":           {content: inUse, file: file, yes: true, want: "The configuration is unchanged."},
	} {
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &session{testCluster: newTestCluster(t), file: tt.file, yes: tt.yes, answers: tt.stdin}
		err := s.run(t)
		said := s.out.String()
		if err != nil {
			said += err.Error()
		}
		if exitCodeOf(err) != tt.status || !strings.Contains(said, tt.want) {
			t.Errorf("%s: exit status %d, said\n%s", name, exitCodeOf(err), said)
		}
		if stored := s.stored(t).Data[configmap.Key]; (stored != inUse) != tt.written {
			t.Errorf("%s: stored %q", name, stored)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: the file is gone: %v", name, err)
		}
	}
}

func TestEditGoesOnWithoutSpeakersAndNamesWhatUndoesIt(t *testing.T) {
	s := &session{testCluster: newTestCluster(t), edits: []func(string) string{replace("/24", "/25")}, answers: "y\n"}
	s.silent["node1"], s.silent["node2"] = true, true
	cm := s.stored(t)
	cm.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
	if _, err := s.client.CoreV1().ConfigMaps(cm.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"warning: what would move in the network is not known: no speaker", "warning: Helm manages ConfigMap baremetal-system/config", "was written"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, s.out)
		}
	}
}

func TestEditorOfTheOperatorIsRunWithItsArguments(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh")
	}
	file := filepath.Join(t.TempDir(), "a file.yaml")
	script := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$1\" > \"$2\"\nexit $STATUS\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBE_EDITOR", script+" 'two words'")
	t.Setenv("EDITOR", "false")
	simulator, _ := newTestCluster(t).simulator("")
	if err := simulator.openEditor(file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "two words\n" {
		t.Errorf("%v %q", err, got)
	}
	t.Setenv("STATUS", "3")
	if err := simulator.openEditor(file); err == nil || !strings.Contains(err.Error(), "exit status 3 (KUBE_EDITOR or EDITOR chooses another editor)") {
		t.Errorf("an editor that fails: %v", err)
	}
}

func TestEditNeedsAConfigMap(t *testing.T) {
	s := &session{testCluster: newTestCluster(t)}
	if err := s.client.CoreV1().ConfigMaps("baremetal-system").Delete(t.Context(), "config", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t); exitCodeOf(err) != 2 || !strings.Contains(err.Error(), "does not exist. Create it first: kubectl -n baremetal-system create configmap config --from-file=config=FILE") {
		t.Errorf("%v", err)
	}
}

func TestEditWritesNothingIfTheQuestionIsInterrupted(t *testing.T) {
	simulator, _ := newTestCluster(t).simulator("")
	silent, typing := io.Pipe()
	defer typing.Close()
	simulator.In = silent
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (&editor{simulator: simulator}).confirmed(ctx) {
		t.Error("Ctrl-C means yes")
	}
}

func FuzzHeaderLeavesTheText(f *testing.F) {
	f.Add(inUse, inUse)
	f.Add("peers: 1\n", "#|")
	f.Fuzz(func(t *testing.T, refused, text string) {
		if strings.HasPrefix(text, headerMark) {
			return
		}
		_, err := config.Parse([]byte(refused))
		header := (&editor{simulator: simulator{options: newOptions(genericiooptions.IOStreams{})}}).header("file", refused, err)
		if got := withoutHeader(header + text); got != text {
			t.Errorf("%q is left of %q", got, text)
		}
	})
}
