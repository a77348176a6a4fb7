package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"sessionhub/protocol"
)

// Group is sessions of one kind.
type Group struct {
	Sessions int
	Create   protocol.CreateRequest
	Next     func(*rand.Rand) Plan // what is said next
	Last     Plan                  // said when the faults are over; it must end well
}

// Plan is one message and what its turn must look like.
type Plan struct {
	Text   string
	Cancel time.Duration    // after that long the turn is cancelled; 0: it is not
	Check  func(Turn) error // of the turn when it has ended; nil: any will do
}

// DemoAgents talk to the demo agent.
func DemoAgents(sessions int, r protocol.CreateRequest) Group {
	return Group{Sessions: sessions, Create: r, Next: demoPlan, Last: streamPlan(5, 20, 0)}
}

func demoPlan(rng *rand.Rand) Plan {
	switch k := rng.IntN(20); {
	case k < 12:
		p := streamPlan(10+rng.IntN(60), 20+rng.IntN(200), 20+rng.IntN(60))
		if rng.IntN(8) == 0 {
			p.Cancel = time.Duration(1+rng.IntN(1000)) * time.Millisecond
		}
		return p
	case k < 16:
		return Plan{Text: "/approve may I?"}
	case k < 18:
		return Plan{Text: fmt.Sprintf("/slow %.1f", rng.Float64()*2)}
	case k < 19:
		return Plan{Text: "/crash"}
	default:
		return Plan{Text: "/think about it"}
	}
}

func streamPlan(n, size, perSecond int) Plan {
	return Plan{
		Text:  fmt.Sprintf("/stream %d %d %d", n, size, perSecond),
		Check: func(t Turn) error { return CheckStream(t, n, size) },
	}
}

// ModelAgents talk to a real agent whose model obeys fakemodel.Directives.
func ModelAgents(sessions int, r protocol.CreateRequest) Group {
	return Group{Sessions: sessions, Create: r, Next: modelPlan, Last: sayPlan("all is well")}
}

func modelPlan(rng *rand.Rand) Plan {
	switch k := rng.IntN(10); {
	case k < 6:
		words := make([]string, 5+rng.IntN(40))
		for i := range words {
			words[i] = fmt.Sprintf("w%d", i)
		}
		return sayPlan(strings.Join(words, " "))
	case k < 8:
		return Plan{Text: "shell echo one"}
	default:
		return Plan{Text: fmt.Sprintf("slow %d", 1+rng.IntN(3)), Cancel: time.Duration(rng.IntN(2)) * time.Second}
	}
}

func sayPlan(text string) Plan {
	return Plan{Text: "say " + text, Check: func(t Turn) error {
		if t.Text == text || t.End.StopReason != protocol.StopEndTurn && strings.HasPrefix(text, t.Text) {
			return nil
		}
		return fmt.Errorf("the turn %s (%+v) of %q has the text %q", t.MessageID, t.End, text, t.Text)
	}}
}
