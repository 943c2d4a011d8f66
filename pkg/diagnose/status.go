package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Status is what is the case in a cluster.
type Status struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`

	Config    ConfigStatus    `json:"config"`
	Managers  []ManagerStatus `json:"managers"`
	Speakers  []SpeakerStatus `json:"speakers"`
	Pools     []debugapi.Pool `json:"pools"`
	Services  ServiceCounts   `json:"services"`
	Sessions  []SessionStatus `json:"sessions"`
	Conflicts []Conflict      `json:"conflicts"`
	Spread    []SpreadStatus  `json:"spread"`
	Problems  []Problem       `json:"problems"`
	// Unread are the inputs that could not be read. What depends on them is empty here.
	Unread []string `json:"unread,omitempty"`
}

// The kinds of the results.
const (
	StatusKind      = "Status"
	ExplanationKind = "Explanation"
)

// ConfigStatus is about the configuration in use.
type ConfigStatus struct {
	// ConfigMap is NAMESPACE/NAME. ResourceVersion is that of the ConfigMap that the cluster
	// manager uses.
	ConfigMap       string `json:"configMap"`
	ResourceVersion uint64 `json:"resourceVersion,omitempty"`
	// Hash identifies the text that the programs should use.
	Hash string `json:"hash,omitempty"`
	// InUse is set if the present content is in use.
	InUse bool `json:"inUse"`
	Pools int  `json:"pools"`
	Peers int  `json:"peers"`
}

// ManagerStatus is about a cluster manager.
type ManagerStatus struct {
	Pod    string `json:"pod"`
	Node   string `json:"node"`
	Ready  bool   `json:"ready"`
	Leader bool   `json:"leader"`
	// Silent is set if it serves no document, because its flags say so.
	Silent  bool   `json:"silent,omitempty"`
	Version string `json:"version,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// SpeakerStatus is about a node and its speaker.
type SpeakerStatus struct {
	Node string `json:"node"`
	// Pod is empty if no speaker runs there.
	Pod     string `json:"pod,omitempty"`
	Version string `json:"version,omitempty"`
	// State is one word: "ok", or what is wrong. Why says it in words.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Config is "in use", "differs", or empty if it is not known.
	Config string `json:"config,omitempty"`
	// MembersHeard is how many of the other speakers it hears.
	MembersHeard int `json:"membersHeard"`
	Members      int `json:"members"`
	// Addresses are those that the node announces by layer 2.
	Addresses []netip.Addr `json:"addresses"`
	// Routes is how many routes it advertises over BGP to at least one router.
	Routes     int `json:"routes"`
	SessionsUp int `json:"sessionsUp"`
	Sessions   int `json:"sessions"`
}

// ServiceCounts counts Services that are served.
type ServiceCounts struct {
	Total   int `json:"total"`
	Served  int `json:"served"`
	Waiting int `json:"waiting"`
	// Withheld have an address that a foreign host has.
	Withheld int `json:"withheld"`
}

// SessionStatus is a BGP session of a node.
type SessionStatus struct {
	Node string `json:"node"`
	debugapi.Session
}

// Conflict is an address that a foreign host has, too.
type Conflict struct {
	Address  netip.Addr `json:"address"`
	Services []string   `json:"services"`
	Why      string     `json:"why"`
}

// SpreadStatus says which nodes carry the traffic of an address.
type SpreadStatus struct {
	Address  netip.Addr         `json:"address"`
	Services []string           `json:"services"`
	Reason   string             `json:"reason"`
	Carriers []debugapi.Carrier `json:"carriers"`
}

// StatusOf returns the status of a cluster.
func StatusOf(in *Input) *Status {
	f := newFacts(in)
	s := &Status{
		APIVersion: debugapi.APIVersion, Kind: StatusKind, Time: in.Now.UTC(), Config: f.configStatus(),
		Managers: []ManagerStatus{}, Speakers: []SpeakerStatus{}, Pools: []debugapi.Pool{}, Sessions: []SessionStatus{}, Conflicts: f.conflicts(), Spread: f.spread(),
	}
	for _, m := range in.Managers {
		status := ManagerStatus{Pod: m.Pod.Name, Node: m.Pod.Spec.NodeName, Ready: isReady(m.Pod), Problem: m.Problem, Silent: m.Silent}
		if m.Allocations != nil {
			status.Leader, status.Version = m.Allocations.Leader, m.Allocations.ProgramVersion
		}
		s.Managers = append(s.Managers, status)
	}
	for _, n := range f.nodes {
		if speaker := f.speaker(n.Name); speaker != nil || f.wantsSpeaker(n) {
			s.Speakers = append(s.Speakers, f.speakerStatus(n, speaker))
		}
	}
	if f.leader != nil {
		s.Pools = f.leader.Pools
	}
	for _, speaker := range in.Speakers {
		if speaker.BGP == nil {
			continue
		}
		for _, session := range speaker.BGP.Sessions {
			s.Sessions = append(s.Sessions, SessionStatus{speaker.Node(), session})
		}
	}
	for _, u := range in.Unknown {
		s.Unread = append(s.Unread, u.What)
	}
	s.Services = f.counts()
	s.Problems = f.problems()
	return s
}

// problems returns the problems of the whole cluster, the causes before their effects.
func (f *facts) problems() []Problem {
	return byUrgency(slices.Concat(f.unknown(), f.configProblems(), f.deadNodeProblems(), f.managerProblems(), f.memberProblems(), f.speakerProblems(),
		f.versionProblems(), f.sessionProblems(), f.serviceProblems(), f.spreadProblems()))
}

func (f *facts) configStatus() ConfigStatus {
	s := ConfigStatus{ConfigMap: f.ConfigMap.String(), Hash: f.expected, InUse: f.hash != "" && f.hash == f.expected}
	if f.leader != nil {
		s.ResourceVersion = f.leader.Config.ResourceVersion
		s.InUse = s.InUse && f.leader.Config.Problem == ""
	}
	if f.parsed != nil {
		s.Pools, s.Peers = len(f.parsed.Pools), len(f.parsed.Peers)
	}
	return s
}

func (f *facts) speakerStatus(n *v1.Node, s *Speaker) SpeakerStatus {
	status := SpeakerStatus{Node: n.Name, State: "ok", Addresses: []netip.Addr{}}
	if s == nil {
		status.State, status.Why = "missing", "no speaker runs there"
		return status
	}
	status.Pod = s.Pod.Name
	if s.Plan != nil {
		status.Version = s.Plan.ProgramVersion
		for _, d := range s.Plan.Decisions {
			if d.Reason == reasonOwner {
				status.Addresses = append(status.Addresses, d.VIP)
			}
		}
		if f.expected != "" {
			status.Config = "in use"
			if s.Plan.Config.Hash != f.expected {
				status.Config = "differs"
			}
		}
	}
	if s.BGP != nil {
		for _, session := range s.BGP.Sessions {
			if status.Sessions++; session.Up {
				status.SessionsUp++
			}
		}
		if status.SessionsUp > 0 {
			status.Routes = len(s.BGP.Routes)
		}
	}
	if s.Members != nil {
		status.MembersHeard, status.Members = f.heard(s)
	}
	switch {
	case f.dead[n.Name]:
		status.State, status.Why = "node dead", "its speaker gives no document, and no other speaker hears it"
	case !isReady(s.Pod):
		status.State = "not ready"
		status.Why, _ = f.notReady(n, s.Pod)
	case s.Plan == nil:
		status.State, status.Why = "unreachable", s.Problem
	case s.Plan.Fenced != "":
		status.State, status.Why = "fenced", s.Plan.Fenced
	case s.Plan.Suppressed != "":
		status.State, status.Why = "suppressed", s.Plan.Suppressed
	}
	return status
}

// counts counts the Services.
func (f *facts) counts() (c ServiceCounts) {
	for _, svc := range f.ours() {
		c.Total++
		a := f.allocation(service.Name(svc))
		switch {
		case a != nil && len(a.Withheld) > 0:
			c.Withheld++
		case len(service.VIPs(svc)) > 0:
			c.Served++
		default:
			c.Waiting++
		}
	}
	return c
}

// conflicts returns the addresses that foreign hosts have, by the word of the speakers.
func (f *facts) conflicts() []Conflict {
	conflicts := []Conflict{}
	for vip, said := range f.decisions {
		for node, d := range said {
			if d.Foreign == "" {
				continue
			}
			conflicts = append(conflicts, Conflict{vip, d.Services, fmt.Sprintf("a foreign host with the MAC address %s has it, as node %s sees", d.Foreign, node)})
		}
	}
	if f.leader != nil {
		for _, foreign := range f.leader.Foreign {
			if !slices.ContainsFunc(conflicts, func(c Conflict) bool { return c.Address == foreign.Address }) {
				conflicts = append(conflicts, Conflict{foreign.Address, []string{}, foreign.Why})
			}
		}
	}
	slices.SortFunc(conflicts, func(a, b Conflict) int { return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Why, b.Why)) })
	return conflicts
}

// spread returns the addresses that should be spread, by the word of their owners.
func (f *facts) spread() []SpreadStatus {
	spread := []SpreadStatus{}
	for vip := range f.decisions {
		if d, _, ok := f.decision(vip); ok && d.Spread != "" {
			carriers := d.Carriers
			if carriers == nil {
				carriers = []debugapi.Carrier{}
			}
			spread = append(spread, SpreadStatus{vip, d.Services, d.Spread, carriers})
		}
	}
	slices.SortFunc(spread, func(a, b SpreadStatus) int { return a.Address.Compare(b.Address) })
	return spread
}
