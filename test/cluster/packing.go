package cluster

import (
	"maps"
	"os"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/images"
)

// pauseImage is the image of the container that holds the namespaces of a pod. It is
// agnhost, which has a command for that.
const pauseImage = "registry.k8s.io/pause:3.10.2"

// Agnhost is the image of agnhost, which has a shell and curl.
const Agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"

// shell are the commands of busybox that one-line scripts in agnhost need. nc and wget are
// not among them: the scripts need the nc of OpenBSD, and busybox's wget is static, so it
// cannot look up names. The shell is not busybox's either, because that would prefer
// busybox's nc.
var shell = []string{"cat", "date", "echo", "env", "grep", "hostname", "ip", "ls", "ping", "seq", "sleep", "true"}

// The configurations of the web servers, which serve one page.
const (
	passwd      = "root:x:0:0:root:/:\nwww-data:x:33:33:www-data:/:\n"
	group       = "root:x:0:\nwww-data:x:33:\n"
	nginxConfig = `user www-data;
error_log stderr;
events {}
http {
	include mime.types;
	access_log off;
	server { listen 80; listen [::]:80; root /usr/share/nginx/html; }
}
`
	httpdConfig = `Listen 80
ServerName httpd
PidFile /tmp/httpd.pid
ErrorLog /dev/stderr
User www-data
Group www-data
DocumentRoot /var/www/html
DirectoryIndex index.html
`
)

// packImages packs all images that pods can use, and returns the paths of the archives.
func (c *Cluster) packImages() ([]string, error) {
	all, err := nodeImages(c.env.Binaries)
	if err != nil {
		return nil, err
	}
	all["ours"] = images.Ours(c.env.Root, ourImage)
	if _, err := os.Stat(c.env.Previous()); err == nil {
		all["previous"] = images.Ours(c.env.Previous(), previousImage)
	}
	if c.options.PodNetwork != "" {
		if all["web"], err = webImage(); err != nil {
			return nil, err
		}
	}
	var archives []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		archive := c.path(name + ".tar")
		if err := all[name].Write(archive); err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// ourImage is the name of this project's image in the manifests and the Helm chart.
const ourImage = "cloud-provider-baremetal:v0.1.0"

// webImage returns the image of the web server that light clusters have, which is a copy of
// this program.
func webImage() (images.Image, error) {
	image := images.Image{Names: []string{"web:test"}, Entrypoint: []string{self()}, Env: roleEnv("pod")}
	return image, image.AddDebian(self())
}

// nodeImages returns the images of other projects, by the names of their archives.
func nodeImages(b Binaries) (map[string]images.Image, error) {
	agnhost := images.Image{
		Names:      []string{Agnhost, pauseImage},
		Files:      map[string]string{"/agnhost": b["agnhost"]},
		Links:      map[string]string{},
		Texts:      map[string]string{"/etc/wgetrc": "tries = 1\n"}, // like the wget of busybox
		Dirs:       []string{"/tmp"},
		Entrypoint: []string{"/agnhost"}, Command: []string{"pause"},
	}
	for _, command := range shell {
		agnhost.Links["/bin/"+command] = "/bin/busybox"
	}
	nginx := images.Image{
		Names: []string{"nginx:stable"},
		Files: map[string]string{"/etc/nginx/mime.types": "/etc/nginx/mime.types", "/usr/share/nginx/html": "/usr/share/nginx/html"},
		Texts: map[string]string{"/etc/passwd": passwd, "/etc/group": group, "/etc/nginx/nginx.conf": nginxConfig},
		Dirs:  []string{"/tmp", "/run", "/var/lib/nginx"}, Entrypoint: []string{"/usr/sbin/nginx", "-g", "daemon off;"},
	}
	httpd := images.Image{
		Names:      []string{"httpd:2.4"},
		Files:      map[string]string{},
		Texts:      map[string]string{"/etc/passwd": passwd, "/etc/group": group, "/etc/apache2/httpd.conf": httpdConfig, "/var/www/html/index.html": "<html><body><h1>It works!</h1></body></html>\n"},
		Dirs:       []string{"/tmp"},
		Entrypoint: []string{"/usr/sbin/apache2", "-f", "/etc/apache2/httpd.conf", "-DFOREGROUND"},
	}
	for _, module := range []string{"mpm_event", "authz_core", "dir"} {
		file := "/usr/lib/apache2/modules/mod_" + module + ".so"
		httpd.Files[file] = file
		httpd.Texts["/etc/apache2/httpd.conf"] += "LoadModule " + module + "_module " + file + "\n"
	}
	for _, add := range []struct {
		image    *images.Image
		programs []string
	}{
		{&agnhost, []string{"/bin/sh", "/bin/busybox", "/usr/bin/curl", "/usr/bin/wget", "/bin/nc"}},
		{&nginx, []string{"/usr/sbin/nginx"}},
		{&httpd, []string{"/usr/sbin/apache2"}},
	} {
		if err := add.image.AddDebian(add.programs...); err != nil {
			return nil, err
		}
	}
	all := map[string]images.Image{"agnhost": agnhost, "nginx": nginx, "httpd": httpd,
		"coredns": {Names: []string{"registry.k8s.io/coredns/coredns:v1.15.0"}, Files: map[string]string{"/coredns": b["coredns"]}, Entrypoint: []string{"/coredns"}}}
	if path, ok := b[Traefik.name]; ok {
		all["traefik"] = images.Image{Names: []string{"traefik:v3.6.7"}, Files: map[string]string{"/traefik": path}, Dirs: []string{"/tmp"}, Entrypoint: []string{"/traefik"}}
	}
	return all, nil
}
