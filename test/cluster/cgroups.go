package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies returns the directories below which control groups are made: one directory
// with cgroup v2, one directory per controller with cgroup v1.
func hierarchies() (dirs []string, v1 bool, err error) {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return []string{cgroups}, false, nil
	}
	entries, err := os.ReadDir(cgroups)
	if err != nil {
		return nil, false, fmt.Errorf("looking for control groups: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(cgroups, e.Name())
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err == nil && e.IsDir() && (s.Type == unix.CGROUP_SUPER_MAGIC || s.Type == unix.CGROUP2_SUPER_MAGIC) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, true, nil
}

// makeCgroup makes a control group for a kubelet in every hierarchy. If two kubelets
// shared a group, each would kill the pods of the other as orphans.
func makeCgroup(name string) error {
	dirs, v1, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range dirs {
		dir := hierarchy
		for element := range strings.SplitSeq(name, "/") {
			parent := dir
			dir = filepath.Join(dir, element)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making a control group: %w", err)
			}
			if v1 {
				err = inheritCPUs(parent, dir)
			} else {
				err = delegate(parent)
			}
			if err != nil {
				return fmt.Errorf("making the control group %s: %w", dir, err)
			}
		}
	}
	return nil
}

// inheritCPUs gives a group of cgroup v1 the CPUs of its parent. Without CPUs no process
// can enter the group. Only the cpuset hierarchy has these files.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), text, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// delegate lets the groups below a group of cgroup v2 use all controllers of the group.
func delegate(group string) error {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(text)) {
		if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("delegating the controller %s: %w", controller, err)
		}
	}
	return nil
}

// removeCgroups removes a group and all groups below it. Their processes must have ended.
func removeCgroups(name string) {
	dirs, _, err := hierarchies()
	if err != nil {
		return // makeCgroup has failed, too, so there are no groups
	}
	for _, hierarchy := range dirs {
		var groups []string
		_ = filepath.WalkDir(filepath.Join(hierarchy, name), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				groups = append(groups, path)
			}
			return nil // a directory that cannot be read was removed in between
		})
		for _, group := range slices.Backward(groups) {
			if err := unix.Rmdir(group); err != nil {
				fmt.Fprintln(os.Stderr, "removing the control group", group+":", err)
			}
		}
	}
}
