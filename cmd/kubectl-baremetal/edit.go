package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

const editHelp = `Opens the configuration in an editor, checks the result, shows what it would do, and writes
it after you confirm it.

If the text has errors, the editor opens again, with the errors above the text. If the
text is unchanged or empty, nothing happens. Before the question it shows what the text would
do to the Services that exist, and what would move in the network, as simulate does.

The editor is the value of KUBE_EDITOR or EDITOR, or else vi (on Windows notepad). With
--filename the text is read from a file, and no editor opens.

If the configuration in the cluster was changed while the editor was open, nothing is
written, and the edited text is kept in a file.

The exit status is 0 if the text was written or if you cancelled, 1 if the text is not valid,
and 2 if it could not be checked or written.`

const editExample = `  # Edit the configuration
  kubectl baremetal edit

  # With another editor
  KUBE_EDITOR=nano kubectl baremetal edit

  # Write a file after a look at its effects
  kubectl baremetal edit -f config.yaml

  # In a script: check the file and write it, without a question
  kubectl baremetal edit -f config.yaml --yes`

func editCommand(o *options) *cobra.Command {
	e := &editor{}
	command := &cobra.Command{
		Use:     "edit",
		Short:   "Edit the configuration, see what it would do, and write it",
		Long:    editHelp,
		Example: editExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, restConfig, err := o.client()
			if err != nil {
				return notDone(err)
			}
			e.simulator, e.open = simulator{o, client, portForward{client, restConfig}}, o.openEditor
			return e.run(cmd.Context())
		},
	}
	flags := command.Flags()
	flags.StringVarP(&e.file, "filename", "f", "", "A file with the new configuration, or with the manifest of the ConfigMap; - for the standard input.")
	flags.BoolVarP(&e.yes, "yes", "y", false, "Write without a question.")
	return command
}

// editor is the command with its flags.
type editor struct {
	simulator
	file string
	yes  bool
	// open opens a file in an editor, and waits until it is closed.
	open func(path string) error
}

func (e *editor) run(ctx context.Context) error {
	if e.file == "-" && !e.yes {
		return notDone(errors.New("--filename - needs --yes, because the standard input cannot answer the question"))
	}
	cm, err := e.client.CoreV1().ConfigMaps(e.configMap.Namespace).Get(ctx, e.configMap.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return notDone(fmt.Errorf("ConfigMap %[1]s does not exist. Create it first: kubectl -n %[2]s create configmap %[3]s --from-file=%[4]s=FILE", &e.configMap, e.configMap.Namespace, e.configMap.Name, configmap.Key))
	}
	if err != nil {
		return notDone(fmt.Errorf("reading ConfigMap %s: %w", &e.configMap, err))
	}
	text, path, err := e.text(cm.Data[configmap.Key])
	if errors.Is(err, errCancelled) {
		fmt.Fprintln(e.Out, "The configuration is unchanged. Nothing was written.")
		return nil
	}
	if err != nil {
		return err
	}
	if err := e.show(ctx, cm, text, path); err != nil {
		return notDone(e.kept(err, path))
	}
	if !e.yes && !e.confirmed(ctx) {
		fmt.Fprintf(e.Out, "Nothing was written. The text is in %s.\n", path)
		return nil
	}
	if err := e.write(ctx, cm, string(text)); err != nil {
		return notDone(e.kept(err, path))
	}
	if e.file == "" {
		_ = os.Remove(path)
	}
	fmt.Fprintf(e.Out, "ConfigMap %s was written. \"kubectl baremetal status\" says whether it is in use.\n", &e.configMap)
	return nil
}

// kept adds to an error where the text is.
func (e *editor) kept(err error, path string) error {
	if path == "-" {
		return err
	}
	return fmt.Errorf("%w. Nothing was written. The text is in %s", err, path)
}

// text returns the new configuration, which is valid, and the file that has it. The error is errCancelled if it is the
// old one.
func (e *editor) text(before string) (text []byte, path string, err error) {
	if e.file == "" {
		return e.edited(before)
	}
	if text, err = readConfiguration(e.options, e.file); err != nil {
		return nil, "", err
	}
	if string(text) == before {
		return nil, "", errCancelled
	}
	return text, e.file, nil
}

// show prints what a valid configuration would do.
func (e *editor) show(ctx context.Context, cm *v1.ConfigMap, text []byte, path string) error {
	parsed, err := config.Parse(text)
	if err != nil {
		return err
	}
	for _, w := range parsed.Warnings {
		fmt.Fprintf(e.Out, "warning: %s\n", config.Format(path, text, config.Offset{}, w))
	}
	fmt.Fprintf(e.Out, "The configuration is valid: %s\n", cloudprovider.Summary(parsed))
	if manager := managerOf(cm); manager != "" {
		fmt.Fprintf(e.Out, "warning: %s manages ConfigMap %s, and can undo the change. Change the source of %s, too.\n", manager, &e.configMap, manager)
	}
	scope := e.scope
	in, unknown := e.gather(ctx, e.client, e.ports)
	if unknown == nil {
		scope = in.Scope
	}
	p, err := e.preview(ctx, scope, text)
	if err != nil {
		return err
	}
	printPreview(e.Out, p.whole)
	fmt.Fprintln(e.Out)
	var change simulate.Change
	if err := addConfiguration(&change, text, p); err != nil {
		return err
	}
	var r simulate.Result
	if unknown == nil {
		r, unknown = e.simulate(ctx, in, change)
	}
	if unknown != nil { // the speakers may not run, and a configuration may be what they need
		fmt.Fprintf(e.Out, "warning: what would move in the network is not known: %v\n", unknown)
		return nil
	}
	if err := printAnnouncements(e.Out, &r); err != nil {
		return err
	}
	if len(r.Incomplete) > 0 {
		fmt.Fprintln(e.Out, "\nwarning: what would move in the network is known only in part, as said above.")
	}
	if unserved := r.Unserved(); len(unserved) > 0 {
		fmt.Fprintf(e.Out, "\nwarning: %s\n", unservedText(unserved))
	}
	return nil
}

// confirmed asks the operator. The end of the input means no, and so does Ctrl-C.
func (e *editor) confirmed(ctx context.Context) bool {
	fmt.Fprint(e.Out, "\nApply? [y/N] ")
	answered := make(chan string, 1)
	go func() { // nothing can interrupt it; after Ctrl-C it ends with the program
		line, _ := bufio.NewReader(e.In).ReadString('\n') // an error is the end of the input
		answered <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answered:
		return answer == "y" || answer == "yes"
	case <-ctx.Done():
		fmt.Fprintln(e.Out)
		return false
	}
}

// maxWrites is how often a write is tried, if something else than the text changes each time.
const maxWrites = 5

// write writes the text into the ConfigMap as it was read. The cluster manager writes an annotation on it. Such a
// change is no conflict.
func (e *editor) write(ctx context.Context, cm *v1.ConfigMap, text string) error {
	api := e.client.CoreV1().ConfigMaps(cm.Namespace)
	for try := 1; ; try++ {
		after := cm.DeepCopy()
		if after.Data == nil {
			after.Data = map[string]string{}
		}
		after.Data[configmap.Key] = text
		_, err := api.Update(ctx, after, metav1.UpdateOptions{})
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || try == maxWrites {
			return fmt.Errorf("writing ConfigMap %s: %w", &e.configMap, err)
		}
		now, err := api.Get(ctx, cm.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading ConfigMap %s again: %w", &e.configMap, err)
		}
		if now.UID != cm.UID || now.Data[configmap.Key] != cm.Data[configmap.Key] {
			return fmt.Errorf("the configuration in ConfigMap %s was changed after it was read here. Look at that change, and edit again", &e.configMap)
		}
		cm = now
	}
}

// managerOf returns the tool that manages an object, and would undo a change; "" for none.
func managerOf(cm *v1.ConfigMap) string {
	flux := cmp.Or(cm.Labels["kustomize.toolkit.fluxcd.io/name"], cm.Labels["helm.toolkit.fluxcd.io/name"])
	switch {
	case flux != "":
		return "Flux"
	case cm.Annotations["argocd.argoproj.io/tracking-id"] != "" || cm.Labels["argocd.argoproj.io/instance"] != "":
		return "Argo CD"
	case cm.Labels["app.kubernetes.io/managed-by"] == "Helm":
		return "Helm"
	}
	return ""
}
