package images

import (
	"path/filepath"
	"time"
)

// Ours returns the product's image, with the same content as the image of the Dockerfile.
// It contains the programs that `make build` has built below root.
func Ours(root string, names ...string) Image {
	image := Image{Names: names, Files: map[string]string{}, User: "65532:65532"}
	for _, name := range []string{"baremetal-cloud-controller-manager", "baremetal-speaker"} {
		image.Files["/"+name] = filepath.Join(root, "bin", name)
	}
	return image
}

// Source is where the sources of the product are.
const Source = "https://github.com/baremetal-lb/cloud-provider-baremetal"

// Labels returns the labels of the product's image: the annotations that the OCI image
// specification defines. The Dockerfile has the same ones.
func Labels(version, commit string, created time.Time) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         "cloud-provider-baremetal",
		"org.opencontainers.image.description":   "Addresses for Services of type LoadBalancer on bare-metal clusters, announced by ARP, NDP and BGP.",
		"org.opencontainers.image.source":        Source,
		"org.opencontainers.image.documentation": Source + "/blob/" + version + "/docs/README.md",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.version":       version,
		"org.opencontainers.image.revision":      commit,
		"org.opencontainers.image.created":       created.UTC().Format(time.RFC3339),
	}
}
