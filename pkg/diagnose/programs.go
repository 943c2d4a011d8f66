package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// unknown returns a problem for each input that could not be read.
func (f *facts) unknown() (problems []Problem) {
	for _, u := range f.Unknown {
		problems = append(problems, Problem{Warning, "Unknown", u.What, "it could not be read: " + u.Why,
			"Use a kubeconfig with more rights. What depends on it is missing here"})
	}
	return problems
}

// configProblems are about the ConfigMap.
func (f *facts) configProblems() (problems []Problem) {
	where := "ConfigMap " + f.ConfigMap.String()
	stays := "The last good configuration stays in use."
	switch {
	case f.Unread("ConfigMap "+f.inUse()) != "":
		stays = "The last good configuration stays in use, if there is one."
	case f.InUse == nil:
		stays = "There is no earlier configuration: Services wait for an address."
	}
	check := fmt.Sprintf("kubectl -n %s get configmap %s -o yaml | kubectl baremetal check-config -", f.ConfigMap.Namespace, f.ConfigMap.Name)
	switch {
	case f.unreadConfig() && (f.leader == nil || f.leader.Config.Problem == ""):
		return nil
	case f.Config == nil && !f.unreadConfig():
		return []Problem{{Error, "ConfigMissing", where, "it does not exist. " + stays, fmt.Sprintf("Create it with the pools of addresses in its key %q, or set --config-map", configmap.Key)}}
	case f.refused != nil:
		what := fmt.Sprintf("it is refused: %s. %s", firstErrors(f.refused), stays)
		return []Problem{{Error, "ConfigRefused", where, what, "Correct it. For all errors with their lines: " + check}}
	case f.leader != nil && f.leader.Config.Problem != "":
		return []Problem{{Error, "ConfigRefused", where, fmt.Sprintf("the cluster manager refuses it: %s. %s", firstLine(f.leader.Config.Problem), stays),
			"Correct it. For all errors with their lines: " + check + ". If this plugin accepts it, it has another version than the cluster manager"}}
	}
	for _, w := range f.parsed.Warnings {
		problems = append(problems, Problem{Warning, "ConfigWarning", where, w.Error(), "Change it if this is not what you mean. For the line: " + check})
	}
	return problems
}

// inUse is the name of the ConfigMap that the cluster manager publishes.
func (f *facts) inUse() string { return f.ConfigMap.Namespace + "/" + f.ConfigMap.InUse() }

// unreadConfig reports whether the ConfigMap of the operator could not be read.
func (f *facts) unreadConfig() bool { return f.Unread("ConfigMap "+f.ConfigMap.String()) != "" }

// firstErrors returns the first errors of a configuration in one line.
func firstErrors(err error) string {
	list, ok := err.(config.Errors)
	if !ok {
		return firstLine(err.Error())
	}
	var texts []string
	for i, e := range list {
		if i == 3 {
			texts = append(texts, fmt.Sprintf("and %d more errors", len(list)-3))
			break
		}
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}

// managerProblems are about the cluster managers and their leader.
func (f *facts) managerProblems() (problems []Problem) {
	where := "cluster manager"
	if len(f.Managers) == 0 {
		return []Problem{{Error, "NoManager", where, "no pod of it was found in namespace " + f.ConfigMap.Namespace,
			"Install it, or name its namespace with --config-map=NAMESPACE/NAME"}}
	}
	for _, m := range f.Managers {
		switch {
		case f.dead[m.Pod.Spec.NodeName]: // which is another problem
		case !isReady(m.Pod):
			problems = append(problems, Problem{Warning, "ManagerNotReady", "pod " + m.Pod.Name, "the cluster manager is not ready: " + whyNotReady(m.Pod), f.logsOf(m.Pod)})
		case m.Problem != "" && !m.Silent:
			problems = append(problems, Problem{Warning, "ManagerUnreachable", "pod " + m.Pod.Name, "its document could not be read: " + m.Problem,
				"Check that you may create pods/portforward in this namespace, and that the kubelet of its node answers"})
		}
	}
	if leader := f.whyNoLeader(); leader != "" {
		problems = append(problems, Problem{Error, "NoLeader", where, leader + ". New Services get no address; addresses that exist stay announced",
			fmt.Sprintf("Read its log: kubectl -n %s logs -l app.kubernetes.io/name=baremetal-cloud-controller-manager --tail=50 --prefix", f.ConfigMap.Namespace)})
	}
	if f.leader != nil && f.hash != "" && f.leader.Config.Problem == "" && f.leader.Config.Hash != f.hash {
		problems = append(problems, Problem{Warning, "ConfigDiffers", where, "it does not use the present content of the ConfigMap",
			"It uses a change within a second. If this stays, read its log: the API server may not answer it"})
	}
	return problems
}

func (f *facts) logsOf(pod *v1.Pod) string {
	text := fmt.Sprintf("kubectl -n %s logs %s --tail=20", pod.Namespace, pod.Name)
	for _, c := range pod.Status.ContainerStatuses {
		if c.RestartCount > 0 {
			text += " --previous"
			break
		}
	}
	return "Read its log: " + text + "; and its Events: kubectl -n " + pod.Namespace + " describe pod " + pod.Name
}

// whyNoLeader says why no cluster manager leads; "" if one does.
func (f *facts) whyNoLeader() string {
	if f.leader != nil {
		return ""
	}
	if f.Lease == nil {
		if f.Unread("Lease") != "" {
			return ""
		}
		return "no cluster manager leads: there is no lease"
	}
	spec := f.Lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return "no cluster manager leads: the lease has no holder"
	}
	until := spec.RenewTime.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second)
	if late := f.Now.Sub(until); late > f.patience() {
		return fmt.Sprintf("no cluster manager leads: the lease of %s expired %v ago", *spec.HolderIdentity, late.Round(time.Second))
	}
	return ""
}

// maxSkew is how far the clock of this machine may be from that of the cluster manager.
const maxSkew = 2 * time.Minute

// patience is how late a lease may be. If all cluster managers say that they do not lead, the clock of
// this machine is no reason to doubt it.
func (f *facts) patience() time.Duration {
	if slices.ContainsFunc(f.Managers, func(m Manager) bool { return m.Allocations == nil }) {
		return maxSkew
	}
	return 0
}

// speakerProblems are about speakers that do not run, or cannot be read.
func (f *facts) speakerProblems() (problems []Problem) {
	var configs, fenced, suppressed, unreachable grouped
	for _, n := range f.nodes {
		s := f.speaker(n.Name)
		switch {
		case f.dead[n.Name]: // which is another problem
		case s == nil && !f.wantsSpeaker(n):
		case s == nil:
			problems = append(problems, f.noSpeaker(n))
		case !isReady(s.Pod):
			severity := Error
			if !isNodeReady(n) {
				severity = Warning // the node is the problem
			}
			why, do := f.notReady(n, s.Pod)
			problems = append(problems, Problem{severity, "SpeakerNotReady", "node " + n.Name, "its speaker is not ready: " + why, do})
		case s.Problem != "":
			unreachable.add(n.Name, Problem{Severity: Warning, Reason: "SpeakerUnreachable", What: "the documents of the speaker could not be read: " + s.Problem,
				Do: "Check that you may create pods/portforward in namespace " + s.Pod.Namespace + ", and that the kubelet of the node answers"})
		}
		if s == nil || s.Plan == nil {
			continue
		}
		if f.expected != "" && s.Plan.Config.Hash != f.expected {
			configs.add(n.Name, f.otherConfig(s))
		}
		if s.Plan.Fenced != "" {
			fenced.add(n.Name, Problem{Severity: Error, Reason: "Fenced", What: "the speaker is fenced and announces nothing by layer 2: " + s.Plan.Fenced, Do: whatToDoFenced(s.Plan.Fenced)})
		} else if s.Plan.Suppressed != "" {
			suppressed.add(n.Name, Problem{Severity: Warning, Reason: "Suppressed", What: "other nodes are preferred to this one: " + s.Plan.Suppressed,
				Do: "Nothing, if the node has just started or come back. If it failed too often, look for the cause: its load, its network, its log"})
		}
	}
	return slices.Concat(problems, unreachable.problems(), configs.problems(), fenced.problems(), suppressed.problems())
}

// wantsSpeaker reports whether the DaemonSet runs a speaker on a node. If the DaemonSet is not known, it
// does so on each node with Linux.
func (f *facts) wantsSpeaker(n *v1.Node) bool {
	if os := n.Labels[v1.LabelOSStable]; os != "" && os != "linux" {
		return false
	}
	if f.DaemonSet == nil {
		return true
	}
	spec := f.DaemonSet.Spec.Template.Spec
	if selected, err := nodeaffinity.GetRequiredNodeAffinity(&v1.Pod{Spec: spec}).Match(n); err == nil && !selected {
		return false // an error is one of the API server, which has accepted the DaemonSet
	}
	_, untolerated := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), n.Spec.Taints, spec.Tolerations, keepsOut, false)
	return !untolerated
}

// keepsOut reports whether a taint keeps pods of a DaemonSet out that do not tolerate it. They tolerate
// the taints that Kubernetes sets itself.
func keepsOut(t *v1.Taint) bool {
	return t.Effect != v1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/")
}

func (f *facts) noSpeaker(n *v1.Node) Problem {
	p := Problem{Error, "NoSpeaker", "node " + n.Name, "no speaker runs there, so it announces nothing",
		fmt.Sprintf("Look at the DaemonSet: kubectl -n %s describe daemonset baremetal-speaker", f.ConfigMap.Namespace)}
	if f.Unread("DaemonSets") != "" {
		p.Severity = Warning
		p.What += ". Whether one should is not known, because the DaemonSet could not be read"
	}
	if !isNodeReady(n) {
		p.Severity = Warning
		p.What += ", and the node is not ready"
		p.Do = "Repair the node, or delete its Node object"
	}
	return p
}

func (f *facts) otherConfig(s *Speaker) Problem {
	p := Problem{Severity: Error, Reason: "ConfigDiffers", What: "the speaker uses another configuration than the cluster manager",
		Do: "It uses a change within a second. If this stays, read its log: the API server may not answer it"}
	switch {
	case s.Plan.Config.Hash == "":
		p.What = "the speaker has no configuration"
	case s.Plan.Config.Problem != "":
		p.What += ": " + firstLine(s.Plan.Config.Problem)
	}
	return p
}

func whatToDoFenced(why string) string {
	switch {
	case strings.Contains(why, "no link"):
		return "Check the network of the node: a link must be up, with an address, and not match --exclude-interfaces"
	case strings.Contains(why, "waits for"):
		return "Nothing, if the cluster has just started"
	}
	return "Check that the node reaches the others: TCP and UDP 7946 and 7947 must be open between nodes, and all speakers must have the same key"
}

// versionProblems are about programs of different versions.
func (f *facts) versionProblems() []Problem {
	versions := map[string][]string{}
	for _, s := range f.Speakers {
		if s.Plan != nil {
			versions[s.Plan.ProgramVersion] = append(versions[s.Plan.ProgramVersion], "speaker of "+s.Node())
		}
	}
	for _, m := range f.Managers {
		if m.Allocations != nil {
			versions[m.Allocations.ProgramVersion] = append(versions[m.Allocations.ProgramVersion], m.Pod.Name)
		}
	}
	if len(versions) < 2 {
		return nil
	}
	var texts []string
	for _, version := range slices.Sorted(maps.Keys(versions)) {
		texts = append(texts, fmt.Sprintf("%s: %s", version, names(versions[version])))
	}
	return []Problem{{Warning, "VersionsDiffer", "programs", "they have different versions: " + strings.Join(texts, "; "),
		"Nothing, during an upgrade. Otherwise use one image for the Deployment and the DaemonSet"}}
}
