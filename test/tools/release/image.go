package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	spec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

// Annotations of an OCI layout. The first is of the OCI image specification. The second is of
// containerd, which gives an imported image this name.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// imagePrograms are the programs of the image.
var imagePrograms = []string{"baremetal-cloud-controller-manager", "baremetal-speaker"}

// platformImage is the image of one platform.
type platformImage struct {
	Platform
	image v1.Image
	bin   string // the directory of its programs
}

// multiImage is the image of all platforms.
type multiImage struct {
	platforms []platformImage
	index     []byte  // the manifest that lists the platforms
	digest    v1.Hash // of the index
}

// buildImage builds the programs and the image, for all platforms. The image reads files of
// the directory work: keep it until the image is written.
func buildImage(ctx context.Context, o Options, work string) (multiImage, error) {
	m := multiImage{}
	licenses, err := buildLicenses(ctx, o, imagePlatforms, filepath.Join(work, "licenses"), imagePrograms...)
	if err != nil {
		return m, err
	}
	// skopeo keeps the digest of an index only if the fields have the order of this struct.
	index := spec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: spec.MediaTypeImageIndex}
	for _, p := range imagePlatforms {
		root := filepath.Join(work, p.String())
		bin := filepath.Join(root, "bin")
		if err := buildPrograms(ctx, o, p, bin, imagePrograms...); err != nil {
			return m, err
		}
		content := images.Ours(root)
		content.Files["/LICENSE"], content.Files["/"+licensesName] = filepath.Join(o.Root, "LICENSE"), licenses
		content.Architecture, content.Created, content.Labels = p.Arch, o.Time, images.Labels(o.Version, o.Commit, o.Time)
		image, err := content.Pack(filepath.Join(work, p.String()+".layer"))
		if err != nil {
			return m, fmt.Errorf("packing the image for %s: %w", p, err)
		}
		m.platforms = append(m.platforms, platformImage{p, image, bin})
		descriptor, err := partial.Descriptor(image)
		if err != nil {
			return m, fmt.Errorf("describing the image for %s: %w", p, err)
		}
		index.Manifests = append(index.Manifests, spec.Descriptor{
			MediaType: string(descriptor.MediaType), Digest: digest.Digest(descriptor.Digest.String()), Size: descriptor.Size,
			Platform: &spec.Platform{OS: p.OS, Architecture: p.Arch},
		})
	}
	if m.index, err = json.Marshal(index); err != nil {
		return m, fmt.Errorf("listing the platforms of the image: %w", err)
	}
	if m.digest, _, err = v1.SHA256(bytes.NewReader(m.index)); err != nil {
		return m, fmt.Errorf("computing the digest of the image: %w", err)
	}
	return m, nil
}

// image writes an archive with the image of all platforms, which tools for registries read,
// and for each platform an archive that containerd imports.
func (out *output) image(m multiImage, work string) error {
	base := project + "-" + out.plain() + "-image"
	repository, err := containerdRepository(out.ImageRepository)
	if err != nil {
		return err
	}
	tag := map[string]string{refName: out.Version, containerdName: repository + ":" + out.Version}
	// Pods of install.yaml have the image's digest in its name. The kubelet finds an imported
	// image by this name, which containerd makes by itself only for images that it pulls.
	byDigest := map[string]string{refName: out.Version, containerdName: repository + "@" + m.digest.String()}

	all := filepath.Join(work, "layout")
	if err := m.writeLayout(all, m.images(), tag); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	written, err := readLayout(all, m.digest) // its layers are compressed already
	if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	if err := out.layout(base+".oci.tar", all); err != nil {
		return err
	}
	for _, p := range m.platforms {
		hash, err := p.image.Digest()
		if err != nil {
			return err
		}
		image, err := written.Image(hash)
		if err != nil {
			return err
		}
		one := filepath.Join(work, "layout-"+p.String())
		if err := m.writeLayout(one, []v1.Image{image}, tag, byDigest); err != nil {
			return fmt.Errorf("writing the image for %s: %w", p, err)
		}
		if err := out.layout(base+"-"+p.String()+".tar", one); err != nil {
			return err
		}
	}
	return nil
}

func (m multiImage) images() (all []v1.Image) {
	for _, p := range m.platforms {
		all = append(all, p.image)
	}
	return all
}

// writeLayout writes an OCI layout with the index and these of its images. Each name is a set of
// annotations, with which the layout's own index names the index.
func (m multiImage) writeLayout(dir string, of []v1.Image, names ...map[string]string) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	for _, image := range of {
		if err := path.WriteImage(image); err != nil {
			return err
		}
	}
	if err := path.WriteBlob(m.digest, io.NopCloser(bytes.NewReader(m.index))); err != nil {
		return err
	}
	for _, annotations := range names {
		named := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: m.digest, Size: int64(len(m.index)), Annotations: annotations}
		if err := path.AppendDescriptor(named); err != nil {
			return err
		}
	}
	return nil
}

// readLayout returns the index with this digest of an OCI layout.
func readLayout(dir string, digest v1.Hash) (v1.ImageIndex, error) {
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	return outer.ImageIndex(digest)
}

// layout writes an archive of an OCI layout.
func (out *output) layout(name, dir string) error {
	entries, err := directory(dir)
	if err != nil {
		return err
	}
	return out.file(name, func(w io.Writer) error { return writeTar(w, out.Time, entries) })
}

// containerdRepository returns the full name of a repository as containerd writes it.
func containerdRepository(repository string) (string, error) {
	r, err := name.NewRepository(repository)
	if err != nil {
		return "", err
	}
	return strings.Replace(r.Name(), name.DefaultRegistry, "docker.io", 1), nil
}

// reference returns the image's name in manifests, with its tag and its digest.
func (m multiImage) reference(o Options) string {
	return o.ImageRepository + ":" + o.Version + "@" + m.digest.String()
}
