package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const checkConfigHelp = `Checks configurations and prints every error with its line and column. FILE is the path
of a configuration, or of a file with the manifest of the ConfigMap. It can be - for the
standard input.

The exit status is 0 if all files are valid, 1 if one is not valid, and 2 if one could
not be checked: the file or the cluster cannot be read, or a flag is wrong.

With --cluster it also prints the effect of each configuration on the Services that are
in the cluster now and that the cluster manager serves, by the flags of its pod. It changes
nothing in the cluster. Without --cluster it needs none.
To name a cluster of the kubeconfig, use --context.`

const checkConfigExample = `  # Check a file before you apply it; no cluster is needed
  kubectl baremetal check-config config.yaml

  # Say also what it would do to the Services that exist
  kubectl baremetal check-config --cluster config.yaml

  # Check what is in the cluster
  kubectl -n baremetal-system get configmap config -o yaml | kubectl baremetal check-config -`

func checkConfigCommand(o *options) *cobra.Command {
	c := &checker{options: o}
	command := &cobra.Command{
		Use:     "check-config FILE...",
		Short:   "Check configurations before you apply them",
		Long:    checkConfigHelp,
		Example: checkConfigExample,
		Args: func(cmd *cobra.Command, args []string) error {
			return notChecked(cobra.MinimumNArgs(1)(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(formats, c.format) {
				return notChecked(fmt.Errorf("--output %q is not one of %s", c.format, strings.Join(formats, ", ")))
			}
			return c.run(cmd.Context(), o.In, o.Out, args)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return notChecked(err) })
	flags := command.Flags()
	flags.BoolVar(&c.cluster, "cluster", false, "Also print what each file would do to the Services in the cluster.")
	flags.StringVarP(&c.format, "output", "o", formatText, "Format of the output: text, json (an array of all errors and warnings), or github (annotations of GitHub Actions).")
	flags.BoolVar(&c.strict, "strict", false, "Warnings count as errors.")
	return command
}

func notValid(err error) error { return exitError{err, 1} }

func notChecked(err error) error {
	if err == nil {
		return nil
	}
	return exitError{err, 2}
}

// checker is the command with its flags.
type checker struct {
	options         *options
	format          string
	strict, cluster bool

	client kubernetes.Interface // nil until it is used
}

// run checks all files, also after an error.
func (c *checker) run(ctx context.Context, in io.Reader, out io.Writer, files []string) error {
	var all []finding
	var errs []error
	status := 0
	if i := slices.Index(files, "-"); i >= 0 && slices.Contains(files[i+1:], "-") {
		return notChecked(errors.New("- is given twice, and the standard input can be read only once"))
	}
	for _, file := range files {
		r := &report{file: file}
		err := c.check(ctx, in, r)
		if err == nil && c.strict && r.warnings() > 0 {
			err = notValid(fmt.Errorf("%s is valid, but --strict does not allow warnings: warnings: %d", file, r.warnings()))
		}
		if err != nil {
			errs = append(errs, err)
			status = max(status, exitCode(err))
		}
		all = append(all, r.findings...)
		if c.format == formatText {
			if _, err := r.text.WriteTo(out); err != nil {
				return notChecked(err)
			}
		}
	}
	if err := printFindings(out, c.format, all); err != nil {
		return notChecked(err)
	}
	if len(errs) == 0 {
		return nil
	}
	return exitError{errors.Join(errs...), status}
}

// check checks the file of the report.
func (c *checker) check(ctx context.Context, in io.Reader, r *report) error {
	content, err := readFile(in, r.file)
	if err != nil {
		r.failure(err)
		return notChecked(err)
	}
	source, err := configmap.Text(content, c.options.configMap)
	if e, ok := errors.AsType[*config.Error](err); ok {
		r.source, r.inFile = configmap.Source{Text: content}, true
		r.problem(severityError, e)
		return notValid(fmt.Errorf("%s is not valid: errors: 1", r.file))
	}
	if err != nil {
		r.failure(err)
		return notValid(fmt.Errorf("%s: %w", r.file, err))
	}
	r.source, r.inFile = source, source.Line > 0 || bytes.Equal(source.Text, content)
	parsed, err := config.Parse(source.Text)
	if list, ok := errors.AsType[config.Errors](err); ok {
		for _, e := range list {
			r.problem(severityError, e)
		}
		return notValid(fmt.Errorf("%s is not valid: errors: %s", r.file, number(list)))
	}
	if err != nil {
		return notValid(err)
	}
	for _, w := range parsed.Warnings {
		r.problem(severityWarning, w)
	}
	fmt.Fprintf(&r.text, "%s is valid: %s\n", r.file, cloudprovider.Summary(parsed))
	return c.preview(ctx, parsed, r)
}

func number(list config.Errors) string {
	if len(list) > config.MaxErrors {
		return fmt.Sprintf("more than %d", config.MaxErrors)
	}
	return fmt.Sprint(len(list))
}

// preview adds the effect of a configuration on the cluster to the report.
func (c *checker) preview(ctx context.Context, parsed *config.Config, r *report) error {
	if !c.cluster {
		return nil
	}
	p, note, err := c.previewIn(ctx, parsed)
	if err != nil {
		r.failure(err)
		return notChecked(err)
	}
	if note != "" {
		fmt.Fprintln(&r.text, note)
		r.add(finding{Severity: severityInfo, Message: note})
	}
	printPreview(&r.text, p)
	for _, w := range p.Warnings {
		r.add(finding{Severity: severityWarning, Message: w})
	}
	for _, e := range p.Effects {
		r.add(finding{Severity: severityInfo, Message: e.Service + " " + e.Text})
	}
	return nil
}

// previewIn returns the effect on the Services that the cluster manager serves. note says which Services
// are taken if that is not known.
func (c *checker) previewIn(ctx context.Context, parsed *config.Config) (p cloudprovider.Preview, note string, err error) {
	if c.client == nil {
		client, _, err := c.options.client()
		if err != nil {
			return p, "", err
		}
		c.client = client
	}
	scope, note := c.scope(ctx)
	p, err = cloudprovider.PreviewIn(ctx, c.client, scope, c.options.configMap, parsed)
	return p, note, err
}

// scope returns which Services are served, by the flags of the cluster manager's pod.
func (c *checker) scope(ctx context.Context) (scope service.Scope, note string) {
	in, err := c.options.findPrograms(ctx, c.client)
	switch {
	case !isDefault(c.options.scope):
		return c.options.scope, ""
	case err == nil && len(in.Managers) > 0:
		return in.Scope, ""
	case err == nil:
		err = fmt.Errorf("there is no cluster manager in namespace %s", c.options.configMap.Namespace)
	}
	return c.options.scope, fmt.Sprintf("Which Services the cluster manager serves is not known: %v. The result is about those without a class and with the class %s; --load-balancer-class and --default-load-balancer choose others.",
		err, strings.Join(c.options.scope.Classes, ", "))
}

func readFile(in io.Reader, file string) ([]byte, error) {
	if file == "-" {
		text, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("reading the standard input: %w", err)
		}
		return text, nil
	}
	return os.ReadFile(file)
}

func printPreview(out io.Writer, p cloudprovider.Preview) {
	fmt.Fprintln(out, "In this cluster:")
	for _, w := range p.Warnings {
		fmt.Fprintf(out, "  warning: %s\n", w)
	}
	for _, e := range p.Effects {
		fmt.Fprintf(out, "  %s %s\n", e.Service, e.Text)
	}
	services := "Services"
	if p.Unchanged == 1 {
		services = "Service"
	}
	fmt.Fprintf(out, "  no change for %d %s\n", p.Unchanged, services)
	for _, u := range p.Usage {
		fmt.Fprintf(out, "  pool %q, %s: %d of %d in use\n", u.Pool, u.Family, u.Used, u.Usable)
	}
}
