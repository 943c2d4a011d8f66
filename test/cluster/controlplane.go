package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// adminToken is the administrator's token. It needs no secrecy, because only this
// machine can reach the cluster.
const adminToken = "admin-of-a-test-cluster"

// controllers are the controllers that a light cluster needs. The controllers that watch
// nodes are left out, because light nodes have no kubelet that reports their state.
const controllers = "deployment-controller,replicaset-controller,endpointslice-controller,endpoints-controller,namespace-controller,serviceaccount-controller,garbage-collector-controller"

// startControlPlane starts etcd, the API server and the controller manager, and
// waits until the API server answers.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	if err := c.StartAPIServer(); err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	args := []string{c.env.Binaries["kube-controller-manager"], "--kubeconfig=" + c.Kubeconfig(),
		"--leader-elect=false", "--service-account-private-key-file=" + c.path("sa.key"), "--root-ca-file=" + c.certificate(),
		"--kube-api-qps=200", "--kube-api-burst=400", "--endpointslice-updates-batch-period=0"}
	if !c.options.Full {
		args = append(args, "--concurrent-deployment-syncs=2", "--controllers="+controllers)
	} else if _, err := c.start("kube-scheduler", "", c.env.Binaries["kube-scheduler"], "--kubeconfig="+c.Kubeconfig(), "--leader-elect=false"); err != nil {
		return err
	}
	c.managerArgs = args
	return c.startControllerManager()
}

func (c *Cluster) startControllerManager() (err error) {
	c.manager, err = c.start("kube-controller-manager", "", c.managerArgs...)
	return err
}

func (c *Cluster) startEtcd() (err error) {
	c.etcd, err = c.start("etcd", "", c.env.Binaries["etcd"], "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380")
	return err
}

// BackUp copies the data of etcd. etcd and the API server are stopped while it copies.
func (c *Cluster) BackUp(ctx context.Context) error {
	return c.withoutControlPlane(ctx, func() error {
		return os.CopyFS(c.path("etcd.backup"), os.DirFS(c.path("etcd")))
	})
}

// Restore gives etcd the data that it had at the time of BackUp. Then it restarts all that
// watches the API server, as Kubernetes' manual demands: the resource versions begin again
// at an older number, and a watch that asks for a newer one gets no event for minutes.
func (c *Cluster) Restore(ctx context.Context) error {
	err := c.withoutControlPlane(ctx, func() error {
		if err := os.RemoveAll(c.path("etcd")); err != nil {
			return err
		}
		return os.Rename(c.path("etcd.backup"), c.path("etcd"))
	})
	if err != nil {
		return err
	}
	c.manager.Stop()
	if err := c.startControllerManager(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		n.proxy.Stop()
		if err := n.startProxy(); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		n.speaker.Stop()
		if err := n.StartSpeaker(ctx); err != nil {
			return err
		}
	}
	return nil
}

// withoutControlPlane calls do while the API server and etcd are stopped. A cloud
// controller manager ends when it cannot renew its lease. withoutControlPlane starts a
// new one for each that has ended, as a kubelet would do.
func (c *Cluster) withoutControlPlane(ctx context.Context, do func() error) error {
	running := c.CCMs()
	for _, p := range running {
		p.MayEnd()
	}
	c.APIServer.Stop()
	c.etcd.Stop()
	if err := do(); err != nil {
		return err
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	if err := c.StartAPIServer(); err != nil {
		return err
	}
	if err := c.ready(ctx); err != nil {
		return err
	}
	for len(c.CCMs()) < len(running) {
		if _, err := c.StartCCM(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartAPIServer starts the API server. c.APIServer is its process.
func (c *Cluster) StartAPIServer() error {
	args := []string{c.env.Binaries["kube-apiserver"],
		"--etcd-servers=http://127.0.0.1:2379", "--cert-dir=" + c.path("certs"), "--token-auth-file=" + c.path("tokens"),
		"--service-cluster-ip-range=10.96.0.0/16,fd96::/112",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.path("sa.key"), "--service-account-signing-key-file=" + c.path("sa.key"),
		"--advertise-address=" + controlPlane4, "--bind-address=::", "--secure-port=6443",
		"--enable-aggregator-routing=true", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"}
	if c.options.Full {
		// Pods reach the API server by its Service, and the API server reaches the kubelets.
		args = append(args, "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true")
	} else {
		args = append(args, "--authorization-mode=RBAC", "--endpoint-reconciler-type=none")
	}
	p, err := c.start("kube-apiserver", "", args...)
	c.APIServer = p
	return err
}

func (c *Cluster) writeFiles() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the key of service accounts: %w", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if err := os.WriteFile(c.path("sa.key"), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	tokens := adminToken + ",admin,admin,system:masters\n"
	for _, n := range c.nodes {
		tokens += fmt.Sprintf("%s,system:node:%s,%[2]s,system:nodes\n", n.token(), n.Name)
	}
	return os.WriteFile(c.path("tokens"), []byte(tokens), 0o600)
}

// connect makes the client when the API server has written its certificate, and waits
// until the API server is ready.
func (c *Cluster) connect(ctx context.Context) error {
	// The API server writes the key after the certificate. So when there is a key, the
	// certificate is complete.
	key := filepath.Join(c.path("certs"), "apiserver.key")
	if err := c.Wait(ctx, "the API server's certificate", func() bool { _, err := os.Stat(key); return err == nil }); err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.Kubeconfig(), "https://"+controlPlane4+":6443", adminToken); err != nil {
		return err
	}
	var err error
	if c.Client, err = c.ClientAs(""); err != nil {
		return err
	}
	return c.ready(ctx)
}

// ClientAs returns a client of the API server that acts as the user. It is the
// administrator's if user is empty.
func (c *Cluster) ClientAs(user string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("using the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 1000, 1000
	config.Impersonate.UserName = user
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

// certificate returns the path of the certificate that the API server signs itself.
func (c *Cluster) certificate() string { return filepath.Join(c.path("certs"), "apiserver.crt") }

// ready waits until the API server answers.
func (c *Cluster) ready(ctx context.Context) error {
	return c.Wait(ctx, "the API server", func() bool {
		text, err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil && string(text) == "ok"
	})
}

// writeKubeconfig writes a kubeconfig for a token. It expects the name
// kubernetes.default.svc in the API server's certificate, at whatever address a client
// reaches the API server.
func (c *Cluster) writeKubeconfig(path, server, token string) error {
	config := clientcmdapi.NewConfig()
	certificate, err := os.ReadFile(c.certificate())
	if err != nil {
		return fmt.Errorf("reading the API server's certificate: %w", err)
	}
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server, TLSServerName: "kubernetes.default.svc", CertificateAuthorityData: certificate}
	config.AuthInfos["user"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "user"}
	config.CurrentContext = "test"
	// A program that has just started may be reading the old file.
	if err := clientcmd.WriteToFile(*config, path+".new"); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return os.Rename(path+".new", path)
}

// serviceAccount writes a kubeconfig with the rights of a service account from the
// manifests, and returns its path.
func (c *Cluster) serviceAccount(ctx context.Context, name string) (string, error) {
	path := c.path(name + ".kubeconfig")
	if _, err := os.Stat(path); err == nil {
		return path, nil // written earlier, which also helps when the API server is stopped
	}
	seconds := int64((24 * time.Hour).Seconds())
	token, err := c.Client.CoreV1().ServiceAccounts("baremetal-system").CreateToken(ctx, name,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making a token for %s: %w", name, err)
	}
	return path, c.writeKubeconfig(path, "https://"+controlPlane4+":6443", token.Status.Token)
}

// Kubeconfig returns the path of the administrator's kubeconfig, which is for programs in
// the namespaces.
func (c *Cluster) Kubeconfig() string { return c.path("admin.kubeconfig") }

// path returns the path of a file of the cluster.
func (c *Cluster) path(name string) string { return filepath.Join(c.env.Dir, name) }
