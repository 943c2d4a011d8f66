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
	"k8s.io/client-go/tools/clientcmd"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const checkConfigName = "check-config"

const checkConfigHelp = `Checks configurations and prints every error with its line and column. FILE is the path
of a configuration, or of a file with the manifest of the ConfigMap. It can be - for the
standard input.

The exit status is 0 if all files are valid, 1 if one is not valid, and 2 if one could
not be checked: the file or the cluster cannot be read, or a flag is wrong.

With --kubeconfig it also prints the effect of each configuration on the Services that
are in the cluster now. It changes nothing in the cluster.`

// checkConfigCommand returns the subcommand check-config. It is not a subcommand of
// upstream's command, because it would inherit all flags of that command.
func checkConfigCommand() *cobra.Command {
	c := &checker{ref: configmap.DefaultRef, scope: service.DefaultScope()}
	command := &cobra.Command{
		Use:  "baremetal-cloud-controller-manager " + checkConfigName + " FILE...",
		Long: checkConfigHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			return notChecked(cobra.MinimumNArgs(1)(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(formats, c.format) {
				return notChecked(fmt.Errorf("--output %q is not one of %s", c.format, strings.Join(formats, ", ")))
			}
			cmd.SilenceUsage = true
			return c.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return notChecked(err) })
	flags := command.Flags()
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "Path to a kubeconfig of the cluster whose Services are checked.")
	flags.StringVarP(&c.format, "output", "o", formatText, "Format of the output: text, json (an array of all errors and warnings), or github (annotations of GitHub Actions).")
	flags.BoolVar(&c.strict, "strict", false, "Warnings count as errors.")
	flags.Var(&c.ref, "config-map", "The ConfigMap to check if a file has several.")
	c.scope.AddFlags(flags)
	return command
}

// statusError is an error with the exit status of the program.
type statusError struct {
	error
	status int
}

func (e statusError) ExitCode() int { return e.status }
func (e statusError) Unwrap() error { return e.error }

// exitCode returns the exit status for the error of a subcommand.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return 1
}

func notValid(err error) error { return statusError{err, 1} }

func notChecked(err error) error {
	if err == nil {
		return nil
	}
	return statusError{err, 2}
}

// checker is the command with its flags.
type checker struct {
	kubeconfig, format string
	strict             bool
	ref                configmap.Ref
	scope              service.Scope

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
	return statusError{errors.Join(errs...), status}
}

// check checks the file of the report.
func (c *checker) check(ctx context.Context, in io.Reader, r *report) error {
	content, err := readFile(in, r.file)
	if err != nil {
		r.failure(err)
		return notChecked(err)
	}
	source, err := configmap.Text(content, c.ref)
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
	if c.kubeconfig == "" {
		return nil
	}
	p, err := c.previewIn(ctx, parsed)
	if err != nil {
		r.failure(err)
		return notChecked(err)
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

func (c *checker) previewIn(ctx context.Context, parsed *config.Config) (cloudprovider.Preview, error) {
	if c.client == nil {
		client, err := clientFor(c.kubeconfig)
		if err != nil {
			return cloudprovider.Preview{}, err
		}
		c.client = client
	}
	return cloudprovider.PreviewIn(ctx, c.client, c.scope, c.ref, parsed)
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

func clientFor(kubeconfig string) (kubernetes.Interface, error) {
	rest, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig %s: %w", kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("using --kubeconfig %s: %w", kubeconfig, err)
	}
	return client, nil
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
