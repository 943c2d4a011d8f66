package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// headerMark begins the lines above the text that are not part of it.
const headerMark = "#|"

// errCancelled says that the operator has not changed the text, or has emptied it.
var errCancelled = errors.New("cancelled")

// edited lets the operator edit a configuration until it is valid. It returns the valid text, and
// the path of the file that has it. The error is errCancelled if the operator gives up; no file is
// left then. After any other error the file is left, and the error names it.
func (e *editor) edited(before string) (after []byte, path string, err error) {
	file, err := os.CreateTemp("", "baremetal-config-*.yaml") // only the operator can read it: it can have passwords
	if err != nil {
		return nil, "", notDone(fmt.Errorf("creating a file for the editor: %w", err))
	}
	path = file.Name()
	_ = file.Close() // nothing was written to it
	_, err = config.Parse([]byte(before))
	text, header := before, e.header(filepath.Base(path), before, err)
	for refused := false; ; refused = true {
		if err := os.WriteFile(path, []byte(header+text), 0o600); err != nil {
			return nil, "", notDone(fmt.Errorf("writing %s: %w", path, err))
		}
		if err := e.open(path); err != nil {
			return nil, "", notDone(fmt.Errorf("running the editor: %w. The text is in %s", err, path))
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, "", notDone(fmt.Errorf("reading the edited text: %w", err))
		}
		now := withoutHeader(string(content))
		if strings.TrimSpace(now) == "" || sameText(now, before) {
			_ = os.Remove(path)
			return nil, "", errCancelled
		}
		if refused && sameText(now, text) {
			return nil, "", notValid(fmt.Errorf("the text still has the errors, and you did not change it. Nothing was written. The text is in %s", path))
		}
		if _, err := config.Parse([]byte(now)); err != nil {
			text, header = now, e.header(filepath.Base(path), now, err)
			continue
		}
		// The file is now what -f needs.
		if err := os.WriteFile(path, []byte(now), 0o600); err != nil {
			return nil, "", notDone(fmt.Errorf("writing %s: %w", path, err))
		}
		return []byte(now), path, nil
	}
}

// header returns the lines above the text. They say what to do, and what is wrong with the text.
func (e *editor) header(file, text string, refused error) string {
	lines := []string{
		"The configuration of ConfigMap " + e.configMap.String() + ".",
		"Save the text and close the editor. The text is checked, and written only after you confirm it.",
		"To cancel, close the editor without a change. These lines above the text are not part of it.",
	}
	if refused != nil {
		lines = append(lines, "", "The text has errors:")
		source := configmap.Source{Text: []byte(text)}
		source.Line = len(lines) + strings.Count(describeErrors(file, source, refused), "\n") + 1
		lines = append(lines, strings.Split(describeErrors(file, source, refused), "\n")...)
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(headerMark+" "+line, " ") + "\n")
	}
	return b.String()
}

// withoutHeader returns the text below the header.
func withoutHeader(content string) string {
	for strings.HasPrefix(content, headerMark) {
		_, content, _ = strings.Cut(content, "\n")
	}
	return content
}

// sameText reports whether two texts are the same but for line breaks at the end, which editors add.
func sameText(a, b string) bool { return strings.TrimRight(a, "\r\n") == strings.TrimRight(b, "\r\n") }

// openEditor opens a file in the operator's editor, and waits until it is closed.
func (o *options) openEditor(path string) error {
	byDefault := "vi"
	if runtime.GOOS == "windows" {
		byDefault = "notepad"
	}
	name := cmp.Or(os.Getenv("KUBE_EDITOR"), os.Getenv("EDITOR"), byDefault)
	command := exec.Command("sh", "-c", name+` "$1"`, "sh", path) // the value can have arguments
	if runtime.GOOS == "windows" {
		command = exec.Command("cmd", "/C", name, path)
	}
	command.Stdin, command.Stdout, command.Stderr = o.In, o.Out, o.ErrOut
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w (KUBE_EDITOR or EDITOR chooses another editor)", name, err)
	}
	return nil
}
