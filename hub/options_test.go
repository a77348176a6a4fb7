package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/protocol"
)

// A change that was accepted is told of, also if the worker gives the session back before it
// has read the command.
func TestChangeThatCrossesARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roomy)
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		yes, no := true, false
		p.event(id, 1, 1, protocol.EventConfigOptions, protocol.WorkerOptionsData{ConfigOptionsData: protocol.ConfigOptionsData{
			Mode: "ask", Asking: &yes, ConfigOptions: []protocol.ConfigOption{{
				ID: "mode", Name: "Mode", Category: "mode", Type: protocol.ConfigSelect, CurrentValue: protocol.TextValue("ask"),
				Options: []protocol.ConfigValue{{Value: "ask", Name: "Ask", Asks: &yes}, {Value: "auto", Name: "Auto", Asks: &no}},
			}},
		}})
		p.complete(id, 1, 2, "m1")
		p.finish(id, 1, 1)
		synctest.Wait()
		if _, err := w.hub.SetOption(w.ctx, id, "u1", protocol.SetOptionRequest{ConfigID: "mode", Value: protocol.TextValue("auto")}, true); err != nil {
			t.Fatal(err)
		}
		p.send(protocol.FrameRelease, protocol.Release{SessionID: id, Assignment: 1, Reason: protocol.ReleaseIdle, Retry: true})
		time.Sleep(time.Second)
		var lists []string
		for _, e := range w.log(id) {
			if e.Type == protocol.EventConfigOptions {
				lists = append(lists, string(e.Data))
			}
		}
		if len(lists) != 2 || !strings.Contains(lists[1], `"changed":["mode"]`) || !strings.Contains(lists[1], `"by":"u1"`) || !strings.Contains(lists[1], `"mode":"auto"`) {
			t.Errorf("the lists in the log: %s", strings.Join(lists, "\n"))
		}
		w.stop()
	})
}
