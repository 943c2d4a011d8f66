// Package images packs programs into container images without a container engine. The
// images are archives that `docker load` and `ctr images import` can read.
package images

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image describes the content of an image. Paths in the image are absolute.
type Image struct {
	// Names are the image's references, with their tags.
	Names []string
	// Files are the paths of files of this machine, by their paths in the image. If a path
	// is a directory, the image gets everything in it.
	Files map[string]string
	// Texts are the contents of more files, by their paths in the image.
	Texts map[string]string
	// Links are the targets of symbolic links, by the paths of the links.
	Links map[string]string
	// Dirs are the paths of empty directories that every user can write to.
	Dirs []string

	Entrypoint, Command []string
	User                string
}

// AddDebian adds programs of this machine, at their own paths, and the shared libraries
// that they need.
func (i *Image) AddDebian(programs ...string) error {
	if i.Files == nil {
		i.Files = map[string]string{}
	}
	for _, program := range programs {
		real, err := filepath.EvalSymlinks(program)
		if err != nil {
			return fmt.Errorf("packing %s: %w", program, err)
		}
		i.Files[program] = real
		out, err := exec.Command("ldd", real).Output()
		if err != nil {
			continue // ldd fails for static programs, which need no library
		}
		for field := range strings.FieldsSeq(string(out)) {
			if path.IsAbs(field) {
				if i.Files[field], err = filepath.EvalSymlinks(field); err != nil {
					return fmt.Errorf("packing %s: %w", program, err)
				}
			}
		}
	}
	return nil
}

// Write writes the image to a file, archive.
func (i Image) Write(archive string) error {
	layer := archive + ".layer"
	defer os.Remove(layer)
	err := i.writeLayer(layer)
	if err == nil {
		err = i.pack(layer, archive)
	}
	if err != nil {
		return fmt.Errorf("packing the image %s: %w", i.Names[0], err)
	}
	return nil
}

func (i Image) pack(layer, archive string) error {
	l, err := tarball.LayerFromFile(layer)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = runtime.GOARCH, "linux"
	file.Config = v1.Config{Entrypoint: i.Entrypoint, Cmd: i.Command, User: i.User,
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	all := map[name.Tag]v1.Image{}
	for _, n := range i.Names {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		all[tag] = image
	}
	return tarball.MultiWriteToFile(archive, all)
}

func (i Image) writeLayer(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	l := layerWriter{tar: tar.NewWriter(f), made: map[string]bool{}}
	if err := l.all(i); err != nil {
		return err
	}
	return l.tar.Close()
}

type layerWriter struct {
	tar  *tar.Writer
	made map[string]bool // the directories that are in the archive already
}

func (l layerWriter) all(i Image) error {
	for _, p := range i.Dirs {
		if err := l.dir(p, 0o1777); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(i.Files)) {
		if err := l.tree(p, i.Files[p]); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(i.Texts)) {
		if err := l.entry(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(i.Texts[p]))}, strings.NewReader(i.Texts[p])); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(i.Links)) {
		if err := l.entry(&tar.Header{Typeflag: tar.TypeSymlink, Name: p, Linkname: i.Links[p], Mode: 0o777}, nil); err != nil {
			return err
		}
	}
	return nil
}

// tree writes a file, or a directory with everything below it. It follows links.
func (l layerWriter) tree(target, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		f, err := os.Open(source)
		if err != nil {
			return err
		}
		defer f.Close()
		return l.entry(&tar.Header{Name: target, Mode: int64(info.Mode().Perm()), Size: info.Size()}, f)
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := l.tree(path.Join(target, e.Name()), filepath.Join(source, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (l layerWriter) dir(p string, mode int64) error {
	if p == "/" || l.made[p] {
		return nil
	}
	l.made[p] = true
	if err := l.dir(path.Dir(p), 0o755); err != nil {
		return err
	}
	return l.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(p, "/") + "/", Mode: mode})
}

func (l layerWriter) entry(h *tar.Header, content io.Reader) error {
	if err := l.dir(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(h.Name, "/")
	if err := l.tar.WriteHeader(h); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(l.tar, content)
	return err
}
