package speaker

import "testing"

func TestASpeakerIsSilentAfterEachLossOfItsLinkUntilItHasLookedForTheOthers(t *testing.T) {
	var f fence
	if !f.open(true, nil) {
		t.Fatal("silent from the start")
	}
	for round := range 3 {
		var rejoins []chan struct{}
		rejoin := func() <-chan struct{} {
			rejoins = append(rejoins, make(chan struct{}))
			return rejoins[len(rejoins)-1]
		}
		for _, step := range []struct {
			what     string
			haveLink bool
			finish   bool
			want     bool
			rejoins  int
		}{
			{"the link goes", false, false, false, 0},
			{"it is still gone", false, false, false, 0},
			{"it is back", true, false, false, 1},
			{"nobody was found yet", true, false, false, 1},
			{"it goes again", false, false, false, 1},
			{"and is back", true, false, false, 2},
			{"the others were looked for", true, true, true, 2},
			{"nothing more happens", true, false, true, 2},
		} {
			if step.finish {
				close(rejoins[len(rejoins)-1])
			}
			if got := f.open(step.haveLink, rejoin); got != step.want || len(rejoins) != step.rejoins {
				t.Fatalf("round %d, %s: open is %v after %d rejoins", round, step.what, got, len(rejoins))
			}
		}
	}
}
