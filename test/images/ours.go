package images

import "path/filepath"

// Ours returns the product's image, with the same content as the image of the Dockerfile.
// It contains the programs that `make build` has built below root.
func Ours(root string, names ...string) Image {
	image := Image{Names: names, Files: map[string]string{}, User: "65532:65532"}
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker"} {
		image.Files["/"+name] = filepath.Join(root, "bin", name)
	}
	return image
}
