package app

import (
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// toldScenarios are about what the agent tells of its session.
func toldScenarios(agent realAgent) []scenario {
	return []scenario{
		{"what it tells of its session", func(t *testing.T, c *conversation) {
			var tokens []uint64
			for _, text := range []string{"say one two three", "say four"} {
				done := c.complete(c.say(text), protocol.StopEndTurn)
				tokens = append(tokens, protocol.ReadTokens(done.Usage).Total)
				if has := done.Cost != nil; has != slices.Contains(agent.tells, "cost") {
					t.Errorf("the turn's cost is %+v", done.Cost)
				}
			}
			// The scripted model takes as much for each turn: the agent counts the turn, not
			// the session.
			if tokens[0] != tokens[1] || (tokens[0] > 0) != slices.Contains(agent.tells, "tokens") {
				t.Errorf("two turns like each other took %v tokens", tokens)
			}
			v := c.view()
			usage := v.Usage
			if usage == nil {
				usage = &protocol.SessionUsage{}
			}
			told := map[string]bool{
				"commands": len(eventsOf[protocol.CommandsData](c, protocol.EventCommands)) > 0,
				"context":  usage.Used != nil && *usage.Used > 0 && usage.Size != nil && *usage.Size > *usage.Used,
				"tokens":   usage.TotalTokens >= tokens[0]+tokens[1] && usage.TotalTokens > 0,
				"cost":     usage.Cost != nil && usage.Cost.Amount > 0,
				"title":    len(eventsOf[protocol.SessionInfoData](c, protocol.EventSessionInfo)) > 0,
			}
			for what, is := range told {
				if is != slices.Contains(agent.tells, what) && !slices.Contains(agent.mayTell, what) {
					t.Errorf("it tells its %s: %v; the session is %s", what, is, protocol.Marshal(v))
				}
			}
			if !told["title"] && !strings.HasPrefix(v.Title, "say ") {
				t.Errorf("nobody has named it, and it is called %q", v.Title)
			}
		}},
	}
}

// view is the session as its users see it.
func (c *conversation) view() (v protocol.Session) {
	c.t.Helper()
	c.call("GET", "/api/sessions/"+c.session.SessionID, nil, &v, "Authorization", "Bearer "+c.session.Token)
	return v
}

// eventsOf are the data of all events of a type in the session's log.
func eventsOf[T any](c *conversation, kind protocol.EventType) []T {
	c.t.Helper()
	var page protocol.History
	c.call("GET", "/api/sessions/"+c.session.SessionID+"/history", nil, &page, "Authorization", "Bearer "+c.session.Token)
	var all []T
	for _, raw := range page.Events {
		if e := hubtest.Decode[protocol.Event](c.t, raw); e.Type == kind {
			all = append(all, hubtest.Decode[T](c.t, e.Data))
		}
	}
	return all
}
