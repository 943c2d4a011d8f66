package deadnodes

import (
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

// said makes statements from a text like "node1:dead node2:alive".
func said(text string) (all []statement) {
	for _, word := range strings.Fields(text) {
		speaker, state, _ := strings.Cut(word, ":")
		all = append(all, statement{speaker, state == "dead"})
	}
	return all
}

// dying is node9 of ten nodes, which two speakers report dead.
func dying(change func(*situation)) situation {
	s := situation{
		node: "node9", now: now, said: said("node1:dead node2:dead"), exists: true, ready: true, speakers: 10,
		dead: []string{"node9"}, seenAlive: true,
	}
	change(&s)
	return s
}

func TestDecideReportsOnlyWhatIsSure(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*situation)
		action action
		reason Reason
		text   string
	}{
		"two say dead":             {func(*situation) {}, report, "", "Its kernel is dead by the word of the speakers on node1, node2."},
		"three say dead":           {func(s *situation) { s.said = said("node3:dead node2:dead node1:dead") }, report, "", "node1, node2, node3."},
		"one says dead":            {func(s *situation) { s.said = said("node1:dead") }, wait, NoAgreement, "1 of the other speakers say"},
		"nobody answers":           {func(s *situation) { s.said = nil }, wait, NoAgreement, "0 of the other speakers say that its kernel is dead (none), 2 must say it."},
		"one contradicts":          {func(s *situation) { s.said = said("node1:dead node2:dead node3:alive") }, wait, NoAgreement, "dead by the word of node1, node2, alive by the word of node3."},
		"it speaks about itself":   {func(s *situation) { s.said = said("node1:dead node9:dead") }, wait, NoAgreement, "1 of the other"},
		"it says that it is alive": {func(s *situation) { s.said = said("node1:dead node2:dead node9:alive") }, report, "", ""},
		"there is no Node":         {func(s *situation) { s.exists, s.ready = false, false }, ignore, NoNode, ""},
		"Kubernetes knows it":      {func(s *situation) { s.ready = false }, ignore, NotReady, ""},
		"a third of the nodes":     {func(s *situation) { s.dead = []string{"a", "b", "node9"} }, report, "", ""},
		"more than a third":        {func(s *situation) { s.dead = []string{"a", "b", "c", "node9"} }, settle, TooMany, "4 of 10 nodes with a speaker are reported dead, or were within 10m0s (a, b, c, node9): more than a third."},
		"more than a third in ten minutes": {func(s *situation) {
			s.past, s.dead = ago("a", 9*time.Minute, "b", 8*time.Minute, "c", 2*time.Minute), nil
		}, settle, TooMany, ""},
		"a third in ten minutes":    {func(s *situation) { s.past = ago("a", 11*time.Minute, "b", 9*time.Minute, "c", 2*time.Minute) }, report, "", ""},
		"one of three nodes":        {func(s *situation) { s.speakers = 3 }, report, "", ""},
		"one of two nodes":          {func(s *situation) { s.speakers = 2 }, settle, TooMany, "1 of 2"},
		"another one 59 s ago":      {func(s *situation) { s.past = ago("node4", 59*time.Second) }, withhold, TooOften, "Node node4 was reported dead 59s ago. At most one node is reported in 1m0s."},
		"another one a minute ago":  {func(s *situation) { s.past = ago("node4", time.Minute) }, report, "", ""},
		"the same nine minutes ago": {func(s *situation) { s.past = ago("node9", 9*time.Minute, "node4", 2*time.Minute) }, withhold, TooOften, "No node is reported twice within 10m0s."},
		"the same ten minutes ago":  {func(s *situation) { s.past = ago("node9", 10*time.Minute) }, report, "", ""},
		"dead before, a new Lease":  {func(s *situation) { s.seenAlive, s.renewed = false, now.Add(-11*time.Second) }, wait, Alive, "has renewed its Lease 11s ago"},
		"dead before, an old Lease": {func(s *situation) { s.seenAlive, s.renewed = false, now.Add(-15*time.Second) }, report, "", ""},
		"dead before, no Lease":     {func(s *situation) { s.seenAlive = false }, wait, Alive, "cannot be read"},
		"a Lease of the future":     {func(s *situation) { s.seenAlive, s.renewed = false, now.Add(time.Hour) }, wait, Alive, ""},
	} {
		got := decide(dying(test.change))
		if got.action != test.action || got.reason != test.reason || !strings.Contains(got.text, test.text) || got.text == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// ago makes past reports from names, each with its age.
func ago(of ...any) (all []past) {
	for i := 0; i < len(of); i += 2 {
		all = append(all, past{of[i].(string), now.Add(-of[i+1].(time.Duration))})
	}
	return all
}

func TestTextsOfManyNodesAreCut(t *testing.T) {
	s := dying(func(s *situation) {
		for range 300 {
			s.dead = append(s.dead, strings.Repeat("x", len(s.dead)+1))
		}
	})
	if text := decide(s).text; len(text) > 300 || !strings.Contains(text, "and 291 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
