package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/metallb"
)

const convertHelp = `Converts the configuration of MetalLB to the configuration of this load balancer, and
prints it. It changes nothing in the cluster.

FILE is a file with custom resources of MetalLB 0.13 to 0.16, or with the ConfigMap of
MetalLB 0.12 or older. It can be - for the standard input. Without FILE, the command
reads the custom resources, the ConfigMaps and the Services from the cluster.

The command says of every field what became of it. What changed, and what was not carried
over, is a comment in the configuration, and a line on the standard error. With
--output=json, it prints all notes. If a BGPPeer has spec.password, the configuration has
the password.

The exit status is 0 if everything was carried over, perhaps changed; 3 if something was
not carried over; 1 after an error.`

const convertExample = `  # Convert what is in the cluster
  kubectl baremetal convert --from=metallb > config.yaml

  # Convert files, and print the manifest of the ConfigMap
  kubectl baremetal convert --from=metallb --configmap pools.yaml peers.yaml > configmap.yaml

  # Convert the output of kustomize, and list what was not carried over
  kubectl kustomize metallb | kubectl baremetal convert --from=metallb -o json - |
    jq '.notes[] | select(.outcome == "not-carried")'`

// notCarriedStatus is the exit status if something was not carried over.
const notCarriedStatus = 3

// The values of --from and --output.
const (
	fromMetalLB = "metallb"
	outputYAML  = "yaml"
	outputJSON  = "json"
)

// conversion is the command convert with its flags.
type conversion struct {
	*options
	from, output, namespace string
	manifest                bool
	// resources returns the client of the cluster. Tests replace it.
	resources func() (dynamic.Interface, error)
}

func convertCommand(o *options) *cobra.Command {
	c := &conversion{options: o}
	c.resources = c.dynamicClient
	return c.command()
}

func (c *conversion) command() *cobra.Command {
	command := &cobra.Command{
		Use:     "convert --from=metallb [FILE...]",
		Short:   "Convert the configuration of MetalLB",
		Long:    convertHelp,
		Example: convertExample,
		RunE:    func(cmd *cobra.Command, files []string) error { return c.run(cmd.Context(), files) },
	}
	flags := command.Flags()
	flags.StringVar(&c.from, "from", "", "What to convert: metallb.")
	flags.StringVarP(&c.output, "output", "o", outputYAML, "Format of the output: yaml (the configuration), or json (the configuration, the notes and the warnings).")
	flags.StringVar(&c.namespace, "metallb-namespace", "metallb-system", "The namespace of MetalLB in the cluster.")
	flags.BoolVar(&c.manifest, "configmap", false, "Print the manifest of the ConfigMap that --config-map names, and not only the configuration.")
	_ = command.MarkFlagRequired("from") // the flag exists
	return command
}

func (c *conversion) run(ctx context.Context, files []string) error {
	switch {
	case c.from != fromMetalLB:
		return fmt.Errorf("--from=%s is not supported: write --from=%s", c.from, fromMetalLB)
	case c.output != outputYAML && c.output != outputJSON:
		return fmt.Errorf("--output=%s is not supported: write %s or %s", c.output, outputYAML, outputJSON)
	case c.output == outputJSON && c.manifest:
		return errors.New("--configmap needs --output=yaml")
	}
	sources, err := c.read(ctx, files)
	if err != nil {
		return err
	}
	result, err := metallb.Convert(sources, metallb.Options{Classes: c.scope.Classes})
	if err != nil && len(files) == 0 {
		return fmt.Errorf("converting what is in the namespace %s (--metallb-namespace names another one, and FILE is a file):\n%w", c.namespace, err)
	}
	if err != nil {
		return err
	}
	if err := c.print(result); err != nil {
		return err
	}
	if count := result.Count(metallb.NotCarried); count > 0 {
		return exitError{fmt.Errorf("not everything was carried over: the lines above and the comments in the output say what to do (%d)", count), notCarriedStatus}
	}
	return nil
}

// read returns the objects in the files, or those in the cluster.
func (c *conversion) read(ctx context.Context, files []string) ([]metallb.Source, error) {
	if len(files) == 0 {
		return c.readCluster(ctx)
	}
	if i := slices.Index(files, "-"); i >= 0 && slices.Contains(files[i+1:], "-") {
		return nil, errors.New("- is given twice, and the standard input can be read only once")
	}
	var sources []metallb.Source
	for _, file := range files {
		name := file
		var text []byte
		var err error
		if file == "-" {
			name = "standard input"
			text, err = io.ReadAll(c.In)
		} else {
			text, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		sources = append(sources, metallb.Source{Name: name, Text: text})
	}
	return sources, nil
}

func (c *conversion) dynamicClient() (dynamic.Interface, error) {
	_, config, err := c.client()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("using the kubeconfig: %w", err)
	}
	return client, nil
}

// metalLBResources are the custom resources of MetalLB that hold configuration. Of several
// versions, the first one that the cluster has is read.
var metalLBResources = []struct {
	resource string
	versions []string
}{
	{"ipaddresspools", []string{"v1beta1"}},
	{"addresspools", []string{"v1beta1"}},
	{"l2advertisements", []string{"v1beta1"}},
	{"bgpadvertisements", []string{"v1beta1"}},
	{"bgppeers", []string{"v1beta2", "v1beta1"}},
	{"bfdprofiles", []string{"v1beta1"}},
	{"communities", []string{"v1beta1"}},
}

// readCluster returns the objects of MetalLB, and the Services.
func (c *conversion) readCluster(ctx context.Context) ([]metallb.Source, error) {
	client, err := c.resources()
	if err != nil {
		return nil, err
	}
	var objects []unstructured.Unstructured
	for _, r := range metalLBResources {
		for _, version := range r.versions {
			found, err := list(ctx, client, schema.GroupVersionResource{Group: "metallb.io", Version: version, Resource: r.resource}, c.namespace)
			if apierrors.IsNotFound(err) {
				continue // the cluster does not have this resource
			}
			if err != nil {
				return nil, err
			}
			objects = append(objects, found...)
			break
		}
	}
	own, err := c.ownFRR(ctx, client)
	if err != nil {
		return nil, err
	}
	objects = append(objects, own...)
	configMaps, err := list(ctx, client, schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, c.namespace)
	if err != nil {
		return nil, err
	}
	services, err := list(ctx, client, schema.GroupVersionResource{Version: "v1", Resource: "services"}, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	objects = append(append(objects, configMaps...), services...)
	sources := make([]metallb.Source, 0, len(objects))
	for _, o := range objects {
		o.SetManagedFields(nil)
		text, err := json.Marshal(&o)
		if err != nil {
			return nil, fmt.Errorf("reading %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
		sources = append(sources, metallb.Source{Name: "cluster", Text: text, FromCluster: true})
	}
	return sources, nil
}

// ownFRR returns the FRRConfigurations that an operator has written beside those of MetalLB. MetalLB names
// its own "metallb-NODE".
func (c *conversion) ownFRR(ctx context.Context, client dynamic.Interface) ([]unstructured.Unstructured, error) {
	found, err := list(ctx, client, frrConfigurations, metav1.NamespaceAll)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil // the cluster does not have this resource
	case apierrors.IsForbidden(err):
		fmt.Fprintf(c.ErrOut, "warning: %v. What an operator has configured there is not carried over, and is not named here\n", err)
		return nil, nil
	}
	return slices.DeleteFunc(found, func(o unstructured.Unstructured) bool { return strings.HasPrefix(o.GetName(), "metallb-") }), err
}

var frrConfigurations = schema.GroupVersionResource{Group: "frrk8s.metallb.io", Version: "v1beta1", Resource: "frrconfigurations"}

func list(ctx context.Context, client dynamic.Interface, resource schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	found, err := client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", resource.GroupResource(), err)
	}
	return found.Items, nil
}

// conversionOutput is the output of --output=json.
type conversionOutput struct {
	Configuration string         `json:"configuration"`
	Notes         []metallb.Note `json:"notes"`
	Warnings      []string       `json:"warnings"`
}

// print prints the configuration, and what a person should know about it.
func (c *conversion) print(r metallb.Result) error {
	if c.output == outputJSON {
		out := conversionOutput{Configuration: r.Text, Notes: r.Notes, Warnings: []string{}}
		for _, w := range r.Warnings {
			out.Warnings = append(out.Warnings, w.Error())
		}
		encoder := json.NewEncoder(c.Out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	}
	text := r.Text
	if c.manifest {
		text = manifest(c.configMap, text)
	}
	if _, err := io.WriteString(c.Out, text); err != nil {
		return err
	}
	for _, n := range r.ForPeople() {
		begin := "changed"
		if n.Outcome == metallb.NotCarried {
			begin = "not carried over"
		}
		fmt.Fprintf(c.ErrOut, "%s: %s\n", begin, n)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(c.ErrOut, "warning: the configuration: %s\n", w)
	}
	fmt.Fprintf(c.ErrOut, "Fields carried over: %d, changed: %d, not carried over: %d. The configuration is valid.\n",
		r.Count(metallb.Carried), r.Count(metallb.Changed), r.Count(metallb.NotCarried))
	return nil
}

// manifest returns the manifest of the ConfigMap with the text.
func manifest(ref configmap.Ref, text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\ndata:\n  %s: |\n", ref.Name, ref.Namespace, configmap.Key)
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}
