package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// evening is a cluster on which things break, one after the other.
type evening struct {
	*fixture
	vip string
	// firstOwner is the owner of the address at the begin of the evening.
	firstOwner *cluster.Node
	// transcript is what an operator would see on the screen.
	transcript strings.Builder
}

// tell adds a line to the transcript.
func (e *evening) tell(format string, args ...any) {
	fmt.Fprintf(&e.transcript, format+"\n", args...)
}

// causes are the reasons of problems that make an operator do something. Each is wrong if another
// thing is broken. AddressWithheld is not among them: two speakers that do not hear each other
// both announce an address.
var causes = []string{
	"NodeDead", "KeyRejected", "MembersMissing", "MembersNotHeard", "ConfigMissing", "ConfigRefused", "BGPSessionDown",
	"NoCandidate", "NoEndpoints", "Waiting", "SpeakerUnreachable", "SecondAnswerer", "ForeignHost",
}

// names waits until a command of the plugin names the cause as the first problem, and no other cause.
// It adds the output to the transcript.
func (e *evening) names(cause string, args ...string) {
	e.Helper()
	var out string
	defer func() {
		if e.Failed() {
			e.Logf("kubectl baremetal %s\n%s", strings.Join(args, " "), out)
		}
	}()
	e.eventually(fmt.Sprintf("the first problem of %v is %q", args, cause), func() bool {
		var status int
		out, status = e.plugin(args...)
		return status == 1 && namesFirst(out, cause)
	})
	e.tell("$ kubectl baremetal %s\n%s", strings.Join(args, " "), out)
}

// namesFirst reports whether the first problem in an output has a text, and no problem of another cause
// follows.
func namesFirst(out, text string) bool {
	var problems []string
	for line := range strings.SplitSeq(out, "\n") {
		if strings.HasPrefix(line, "ERROR ") || strings.HasPrefix(line, "WARNING ") {
			problems = append(problems, line)
		}
	}
	if len(problems) == 0 || !strings.Contains(problems[0], text) {
		return false
	}
	reason := func(line string) string { return strings.TrimSuffix(strings.Fields(line)[1], ":") }
	return !slices.ContainsFunc(problems, func(line string) bool {
		return reason(line) != reason(problems[0]) && slices.Contains(causes, reason(line))
	})
}

func TestFirstProblemAndOtherCausesAreFoundInAnOutput(t *testing.T) {
	const dead, key, fenced = "WARNING NodeDead: node node4: it", "ERROR KeyRejected: node node1: the", "ERROR Fenced: node node2: the"
	for out, want := range map[string]bool{
		"1 PROBLEM:\n\n" + dead + "\n  What to do: NodeDead\n": true,
		dead + "\n" + fenced: true,
		dead + "\n" + key:    false,
		fenced + "\n" + dead: false,
		"NodeDead":           false,
		"":                   false,
	} {
		if got := namesFirst(out, "NodeDead"); got != want {
			t.Errorf("%q: %t", out, got)
		}
	}
}

// do runs a command of an administrator on a host, and adds it to the transcript.
func (e *evening) do(netns string, args ...string) {
	e.Helper()
	e.tell("%s# %s", netns, strings.Join(args, " "))
	if out, err := cluster.Namespaced(context.Background(), netns, args...).CombinedOutput(); err != nil {
		e.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// admin runs kubectl, and adds the command to the transcript.
func (e *evening) admin(args ...string) {
	e.Helper()
	e.tell("$ kubectl %s", strings.Join(args, " "))
	e.kubectl(args...)
}

// wants creates a Service that asks for an address.
func (e *evening) wants(name, address string) {
	e.Helper()
	e.tell("$ kubectl create service loadbalancer %s --tcp=80 # with the annotation lb.baremetal/addresses: %s", name, address)
	_, err := e.cluster.Client.CoreV1().Services("default").Create(e.Context(), &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"lb.baremetal/addresses": address}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	e.must(err)
	e.Cleanup(func() { e.kubectl("delete", "service", name, "--timeout=30s", "--ignore-not-found") })
}

// An operator breaks something in ten ways. Each time one command names the cause.
func TestPluginNamesTenCausesOfAnEvening(t *testing.T) {
	e := &evening{fixture: setUp(t)}
	e.tell("$ make release VERSION=v%s # the nodes import the archive of the image", releaseVersion)
	e.installRelease()
	e.tell("$ kubectl apply -f dist/install.yaml -f configmap.yaml")
	e.vip = e.nginx()
	e.serves(e.vip)
	e.firstOwner = e.owner()
	e.tell("$ kubectl expose deployment nginx --port=80 --type=LoadBalancer")
	e.says(0, "No problems found.", "status")
	out, _ := e.plugin("status")
	e.tell("$ kubectl baremetal status\n%s", out)
	for i, fault := range []struct {
		name        string
		cause       func(e *evening)
		inStatus    bool // and not in explain
		trace       bool // only trace finds it
		what        string
		repair      func(e *evening)
		hasProblems bool // for some time after the repair
	}{
		{name: "a label on all nodes", what: "no node may announce it",
			cause: func(e *evening) { e.admin("label", "nodes", "--all", v1.LabelNodeExcludeBalancers+"=") },
			repair: func(e *evening) {
				e.admin("label", "nodes", "--all", v1.LabelNodeExcludeBalancers+"-")
			}},
		{name: "no pod is ready", what: "no pod of it is ready",
			cause:  func(e *evening) { e.admin("scale", "deployment", "nginx", "--replicas=0") },
			repair: func(e *evening) { e.admin("scale", "deployment", "nginx", "--replicas=2") }},
		{name: "a typo in the configuration", inStatus: true, what: "ConfigRefused",
			cause: func(e *evening) {
				e.pools(strings.Replace(cluster.DefaultPools, "addresses:", "adresses:", 1), "a typo: adresses")
			},
			repair: func(e *evening) { e.pools(cluster.DefaultPools, "the old text") }},
		{name: "a pool that is full", inStatus: true, what: "exhausted",
			cause: func(e *evening) {
				e.pools("address-pools:\n- {name: default, protocol: layer2, addresses: ["+e.vip+"/32]}\n", "a pool with one address")
				e.admin("create", "service", "loadbalancer", "second", "--tcp=80")
				e.names("exhausted", "explain", "second")
			},
			repair: func(e *evening) {
				e.admin("delete", "service", "second")
				e.pools(cluster.DefaultPools, "the old text")
			}},
		{name: "a foreign host has the address", inStatus: true, what: "AddressWithheld",
			cause: func(e *evening) {
				e.do("client", "ip", "address", "add", "192.168.120.240/32", "dev", "eth0")
				e.wants("taken", "192.168.120.240")
				e.names("AddressWithheld", "explain", "taken")
			},
			repair: func(e *evening) {
				e.do("client", "ip", "address", "del", "192.168.120.240/32", "dev", "eth0")
				e.admin("delete", "service", "taken")
			}},
		{name: "another password than the router's", inStatus: true, what: "password",
			cause: func(e *evening) {
				router, err := e.cluster.StartRouter(e.Context(), cluster.RouterOptions{Daemon: "FRR", Password: "right"})
				e.must(err)
				e.Cleanup(router.Close)
				e.pools(cluster.DefaultPools+fmt.Sprintf("peers:\n- {name: tor, my-asn: %d, peer-asn: %d, peer-address: %s, password: wrong}\n", cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4), "a peer with the password wrong")
			},
			repair: func(e *evening) { e.pools(cluster.DefaultPools, "the old text") }},
		{name: "a firewall blocks port 7947 on a node", inStatus: true, what: "MembersNotHeard",
			cause: func(e *evening) {
				e.do("node2", "nft", "add table inet firewall; add chain inet firewall input { type filter hook input priority 0; }; add rule inet firewall input meta l4proto { tcp, udp } th dport 7947 drop")
			},
			repair: func(e *evening) { e.do("node2", "nft", "delete table inet firewall") }, hasProblems: true},
		{name: "a speaker with another key", inStatus: true, what: "KeyRejected",
			cause: func(e *evening) {
				e.tell("(node3 does not reach the API server)")
				e.do("node3", "nft", "add table inet firewall; add chain inet firewall output { type filter hook output priority 0; }; add rule inet firewall output tcp dport 6443 drop; "+
					"add chain inet firewall input { type filter hook input priority 0; }; add rule inet firewall input tcp sport 6443 drop")
				e.admin("-n", "baremetal-system", "patch", "secret", "memberlist", "--type=merge", "-p", `{"data":{"secretkey":"`+base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))+`"}}`)
				// A speaker that runs accepts the old key for a minute more.
				e.admin("-n", "baremetal-system", "delete", "pods", "-l", "app.kubernetes.io/name=baremetal-speaker", "--field-selector=spec.nodeName!=node3")
			},
			repair: func(e *evening) { e.do("node3", "nft", "delete table inet firewall") }, hasProblems: true},
		{name: "another node answers for the address, as with ipvs without strictARP", trace: true, what: "SecondAnswerer",
			cause:  func(e *evening) { e.do(e.second().Name, "ip", "address", "add", e.vip+"/32", "dev", "lo") },
			repair: func(e *evening) { e.do(e.second().Name, "ip", "address", "del", e.vip+"/32", "dev", "lo") }},
		{name: "a dead node", inStatus: true, what: "NodeDead",
			cause: func(e *evening) {
				owner := e.owner()
				e.tell("(the power of %s fails)", owner.Name)
				e.must(owner.Deafen())
				e.must(owner.Mute())
				e.serves(e.vip)
			},
			repair: func(e *evening) { e.must(e.cluster.Heal()) }, hasProblems: true},
	} {
		e.tell("\n# %d. %s", i+1, fault.name)
		done := false
		e.Cleanup(func() {
			if !done {
				fault.repair(e)
			}
		})
		fault.cause(e)
		switch {
		case fault.trace:
			e.names(fault.what, "trace", e.vip)
		case !fault.inStatus:
			e.names(fault.what, "explain", "nginx")
			fallthrough
		default:
			e.names(fault.what, "status")
		}
		fault.repair(e)
		done = true
		switch {
		case fault.trace: // nodes can still be suppressed, because they came back a short time ago
			e.says(0, "No problems found.", "trace", e.vip)
		case fault.hasProblems:
			e.eventually("the cause is gone: "+fault.name, func() bool {
				out, _ := e.plugin("status")
				return !strings.Contains(out, fault.what)
			})
		default:
			e.says(0, "No problems found.", "status")
		}
		e.serves(e.vip)
	}
	e.Logf("the evening:\n%s", e.transcript.String())
	if file := os.Getenv("TRANSCRIPT"); file != "" {
		e.must(os.WriteFile(file, []byte(e.transcript.String()), 0o644))
	}
}

// pools replaces the configuration.
func (e *evening) pools(text, what string) {
	e.Helper()
	e.tell("$ kubectl apply -f config.yaml # %s", what)
	e.must(e.cluster.SetPools(context.Background(), text))
}

// second returns a node that is not the owner.
func (e *evening) second() *cluster.Node {
	e.Helper()
	if node := e.cluster.Nodes()[0]; node != e.firstOwner {
		return node
	}
	return e.cluster.Nodes()[1]
}

// owner returns the node that answers for the address.
func (e *evening) owner() *cluster.Node {
	e.Helper()
	var owner *cluster.Node
	e.eventually("one owner", func() bool {
		macs, err := e.cluster.WhoHas(e.vip, 200*time.Millisecond)
		if err != nil || len(macs) != 1 {
			return false
		}
		owner = e.cluster.NodeByMAC(macs[0])
		return owner != nil
	})
	return owner
}
