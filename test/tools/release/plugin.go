package main

import (
	"context"
	"io"
	"path/filepath"
)

// pluginName is the name of the program. kubectl finds it as `kubectl baremetal`.
const pluginName = "kubectl-baremetal"

// plugin is the plugin of kubectl for one platform.
type plugin struct {
	Platform
	program string // the path of the file
}

func buildPlugins(ctx context.Context, o Options, work string) (all []plugin, err error) {
	for _, p := range o.Plugins {
		bin := filepath.Join(work, "plugin-"+p.String())
		if err := buildPrograms(ctx, o, p, bin, pluginName); err != nil {
			return nil, err
		}
		all = append(all, plugin{p, filepath.Join(bin, pluginName+p.suffix())})
	}
	return all, nil
}

// suffix returns the end of the name of a program.
func (p Platform) suffix() string {
	if p.OS == "windows" {
		return ".exe"
	}
	return ""
}

// plugins writes an archive for each platform.
func (out *output) plugins(all []plugin, licenses string) error {
	license, err := out.license()
	if err != nil {
		return err
	}
	for _, p := range all {
		entries := []entry{{name: "LICENSE", data: license}, {name: licensesName, path: licenses}, {name: pluginName + p.suffix(), path: p.program, executable: true}}
		suffix, write := ".tar.gz", writeTarGz
		if p.OS == "windows" {
			suffix, write = ".zip", writeZip
		}
		name := pluginName + "-" + out.plain() + "-" + p.String() + suffix
		if err := out.file(name, func(w io.Writer) error { return write(w, out.Time, entries) }); err != nil {
			return err
		}
	}
	return nil
}
