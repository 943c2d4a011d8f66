package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Module returns the directory with the files of a module from Needs.Modules.
func (e Env) Module(path string) string { return filepath.Join(e.Dir, "modules", path) }

// downloadModules downloads Go modules, PATH@VERSION. Only their files are used; nothing is
// built from them.
func downloadModules(e Env, modules []string) error {
	for _, m := range modules {
		cmd := exec.Command("go", "mod", "download", "-json", m)
		cmd.Dir = e.Root
		out, err := cmd.Output()
		var module struct{ Dir, Error string }
		if jsonErr := json.Unmarshal(out, &module); err == nil {
			err = jsonErr
		}
		if err != nil {
			return fmt.Errorf("downloading %s: %w: %s", m, err, module.Error)
		}
		path, _, _ := strings.Cut(m, "@")
		if err := os.MkdirAll(filepath.Dir(e.Module(path)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(module.Dir, e.Module(path)); err != nil {
			return err
		}
	}
	return nil
}
