// Package images packs programs into container images without a container engine. The
// images are archives that `docker load` and `ctr images import` can read.
package images

import (
	"archive/tar"
	"cmp"
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
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
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
	// Env are environment variables, NAME=VALUE, beside PATH.
	Env  []string
	User string
	// Labels are the image's annotations, such as org.opencontainers.image.version.
	Labels map[string]string
	// Architecture is that of the programs, in Go's words. Empty means this machine's.
	Architecture string
	// Created is when the image was made. With the same content and the same time, the image
	// has the same digest.
	Created time.Time
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
	image, err := i.Pack(layer)
	if err == nil {
		err = i.write(image, archive)
	}
	if err != nil {
		return fmt.Errorf("packing the image %s: %w", i.Names[0], err)
	}
	return nil
}

// Pack returns the image. It writes the image's only layer to the file layer, from which the
// image is read later: keep the file until then.
func (i Image) Pack(layer string) (v1.Image, error) {
	if err := i.writeLayer(layer); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromFile(layer, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, l)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = cmp.Or(i.Architecture, runtime.GOARCH), "linux"
	file.Created = v1.Time{Time: i.Created}
	file.Config = v1.Config{Entrypoint: i.Entrypoint, Cmd: i.Command, User: i.User, Labels: i.Labels,
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, i.Env...)}
	return mutate.ConfigFile(image, file)
}

func (i Image) write(image v1.Image, archive string) error {
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
		return l.entry(&tar.Header{Name: target, Mode: mode(info), Size: info.Size()}, f)
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

// mode returns the mode of a file in the image. It does not depend on the umask of the machine
// that made the file.
func mode(info os.FileInfo) int64 {
	if info.Mode()&0o111 != 0 {
		return 0o755
	}
	return 0o644
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
