package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifest writes install.yaml: what `kubectl apply -k manifests` creates, with this image.
func (out *output) manifest(image multiImage) error {
	text, err := kustomize(out.Root, types.Image{Name: project, NewName: out.ImageRepository, NewTag: out.Version, Digest: image.digest.String()}, out.Version)
	if err != nil {
		return fmt.Errorf("making install.yaml of the manifests: %w", err)
	}
	if reference := image.reference(out.Options); strings.Count(text, "image: "+reference+"\n") != len(imagePrograms) {
		return fmt.Errorf("making install.yaml: not all of its pods have the image %s: set newName in manifests/kustomization.yaml to %s", reference, project)
	}
	header := "# " + project + " " + out.Version + "\n# kubectl apply -f install.yaml\n# Then write your pools to the ConfigMap baremetal-system/config.\n"
	return out.text("install.yaml", header+text)
}

// kustomize returns the objects of the directory manifests, with another image and the label of
// another version. It works on a copy in memory.
func kustomize(root string, image types.Image, version string) (string, error) {
	files := filesys.MakeFsInMemory()
	manifests := filepath.Join(root, "manifests")
	err := filepath.WalkDir(manifests, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(manifests, path)
		if err != nil {
			return err
		}
		return files.WriteFile(filepath.Join("/manifests", name), text)
	})
	if err != nil {
		return "", err
	}
	overlay := fmt.Sprintf("resources: [../manifests]\nimages:\n- {name: %q, newName: %q, newTag: %q, digest: %q}\n"+
		"labels:\n- {includeTemplates: true, pairs: {app.kubernetes.io/version: %q}}\n", image.Name, image.NewName, image.NewTag, image.Digest, version)
	if err := files.WriteFile("/release/kustomization.yaml", []byte(overlay)); err != nil {
		return "", err
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/release")
	if err != nil {
		return "", err
	}
	text, err := objects.AsYaml()
	return string(text), err
}
