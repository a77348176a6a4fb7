package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

type wsServer = websocket.Conn

const textMessage = websocket.MessageText

// answering answers each command by f's frame; an empty one cuts.
func answering(f func(protocol.Command) string) func(context.Context, *websocket.Conn) {
	return func(ctx context.Context, c *websocket.Conn) {
		for {
			_, raw, err := c.Read(ctx)
			if err != nil {
				return
			}
			var cmd protocol.Command
			if json.Unmarshal(raw, &cmd) != nil {
				return
			}
			frame := f(cmd)
			if frame == "" || c.Write(ctx, textMessage, []byte(frame)) != nil {
				return
			}
		}
	}
}

func ack(cmd protocol.Command, data string) string {
	return fmt.Sprintf(`{"type":"ack","id":%q,"data":%s}`, cmd.ID, data)
}

// following calls Next until the stream ends, and f once the hub was heard.
func following(t *testing.T, st *Stream, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	heard, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		defer st.Close()
		first := true
		for {
			fr, err := st.Next(ctx)
			if err != nil {
				return
			}
			if first && fr.Control() == protocol.ControlConnected {
				first = false
				close(heard)
			}
		}
	}()
	<-heard
	f(ctx)
	cancel()
	<-left
}

func TestCommandsGoOverTheWebSocket(t *testing.T) {
	var got []string
	serve := answering(func(c protocol.Command) string {
		got = append(got, string(c.Type)+string(c.Data))
		switch c.Type {
		case protocol.CommandMessage:
			return ack(c, `{"messageId":"m1","seq":7}`)
		case protocol.CommandApprove:
			return fmt.Sprintf(`{"type":"error","id":%q,"error":{"code":"approval_resolved","detail":"late","outcome":"selected","optionId":"no"}}`, c.ID)
		}
		if c.Type == protocol.CommandQueue {
			return ack(c, `{"messages":[{"messageId":"m2","content":"x","userId":"u","held":true}]}`)
		}
		return ack(c, `{}`)
	})
	run(t, WebSocket, []part{{frames: []string{connected("e1", 1)}, then: serve}}, func(t *testing.T, hub *scripted, s *Session) {
		st := s.Stream(StreamOptions{})
		following(t, st, func(ctx context.Context) {
			r, err := st.Message(ctx, "hello", "m1")
			if err != nil || r.Seq != 7 {
				t.Errorf("message: %+v, %v", r, err)
			}
			// Nothing of ours can have arrived before: somebody else won.
			_, err = st.Approve(ctx, protocol.ApproveRequest{InteractionID: "i", OptionID: "no"})
			var e *Error
			if !errors.As(err, &e) || e.Code != protocol.CodeApprovalResolved || e.OptionID != "no" || e.Temporary() {
				t.Errorf("approve: %v", err)
			}
			if err := st.Cancel(ctx, ""); err != nil {
				t.Errorf("cancel: %v", err)
			}
			if err := st.Stop(ctx, "m1"); err != nil {
				t.Errorf("stop: %v", err)
			}
			q, err := st.ChangeQueue(ctx, protocol.QueueRequest{Action: protocol.QueueRelease})
			if err != nil || len(q.Messages) != 1 || !q.Messages[0].Held {
				t.Errorf("queue: %+v, %v", q, err)
			}
		})
		want := `message{"content":"hello","messageId":"m1"} approve{"interactionId":"i","optionId":"no"} cancel{} cancel{"messageId":"m1","hold":true} queue{"action":"release"}`
		if all := strings.Join(got, " "); all != want {
			t.Errorf("it sent %s, want %s", all, want)
		}
	})
}

// A message whose answer was lost goes out again with the same id, by the way
// that is there, until it is acknowledged.
func TestCommandsAreRepeatedUntilAnswered(t *testing.T) {
	for name, tc := range map[string]struct {
		transport Transport
		first     part
	}{
		"the WebSocket was cut":    {WebSocket, part{frames: []string{connected("e1", 1)}, then: answering(func(protocol.Command) string { return "" })}},
		"the WebSocket was silent": {WebSocket, part{frames: []string{connected("e1", 1)}, then: answering(func(protocol.Command) string { return `{"type":"later"}` })}},
		"over SSE":                 {SSE, part{frames: []string{connected("e1", 1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			stay := part{frames: []string{connected("e1", 1)}, then: hang}
			parts := []part{tc.first}
			for range 50 {
				parts = append(parts, stay)
			}
			var bodies []string
			run(t, tc.transport, parts, func(t *testing.T, hub *scripted, s *Session) {
				hub.post = func(w http.ResponseWriter, path, body string) {
					bodies = append(bodies, body)
					switch len(bodies) {
					case 1:
						panic(http.ErrAbortHandler) // cut
					case 2:
						w.Header().Set("Retry-After", "3")
						w.WriteHeader(http.StatusServiceUnavailable)
					default:
						w.WriteHeader(http.StatusAccepted)
						_, _ = io.WriteString(w, `{"messageId":"m","seq":3,"duplicate":true}`)
					}
				}
				st := s.Stream(StreamOptions{Transport: tc.transport})
				following(t, st, func(ctx context.Context) {
					began := time.Now()
					r, err := st.Message(ctx, "hello", "")
					if err != nil || r.Seq != 3 {
						t.Errorf("%+v, %v", r, err)
					}
					if d := time.Since(began); d < 3*time.Second {
						t.Errorf("it took %s: Retry-After was not obeyed", d)
					}
				})
				if len(bodies) != 3 || bodies[0] != bodies[1] || bodies[1] != bodies[2] || !strings.Contains(bodies[0], `"messageId":"m_`) {
					t.Errorf("the requests were %q", bodies)
				}
			})
		})
	}
}

func TestCommandsThatAreNotRepeated(t *testing.T) {
	run(t, SSE, []part{{frames: []string{connected("e1", 1)}}, {status: 204}}, func(t *testing.T, hub *scripted, s *Session) {
		st := s.Stream(StreamOptions{Transport: SSE})
		defer st.Close()
		requests := 0
		hub.post = func(w http.ResponseWriter, path, _ string) {
			requests++
			if path == "/api/sessions/s1/cancel" {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"status":409,"code":"session_ended","detail":"it has ended"}`)
		}
		_, err := st.Message(t.Context(), "hello", "")
		check(t, err, protocol.CodeSessionEnded)
		if err := st.Cancel(t.Context(), ""); err == nil || requests != 2 {
			t.Errorf("%d requests; cancel gave %v", requests, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := st.Cancel(ctx, "m1"); !errors.Is(err, context.DeadlineExceeded) || requests < 6 {
			t.Errorf("%d requests; cancel of a named turn gave %v", requests, err)
		}
	})
}

// The second answer to a question tells that the first one got through.
func TestAnApprovalWhoseAnswerWasLostIsDone(t *testing.T) {
	parts := []part{{frames: []string{connected("e1", 1)}, then: answering(func(protocol.Command) string { return "" })}, {frames: []string{connected("e1", 1)}, then: hang}}
	for option, ok := range map[string]bool{"yes": true, "no": false} {
		run(t, WebSocket, parts, func(t *testing.T, hub *scripted, s *Session) {
			hub.post = func(w http.ResponseWriter, _, _ string) {
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, `{"status":409,"code":"approval_resolved","outcome":"selected","optionId":"yes"}`)
			}
			st := s.Stream(StreamOptions{Transport: WebSocket})
			following(t, st, func(ctx context.Context) {
				got, err := st.Approve(ctx, protocol.ApproveRequest{InteractionID: "i", OptionID: option})
				if (err == nil) != ok || ok && got.OptionID != "yes" {
					t.Errorf("%s: %+v, %v", option, got, err)
				}
			})
		})
	}
}

// Commands find out about an expired token, too, and ask for another once.
func TestCommandsRenewTheToken(t *testing.T) {
	run(t, SSE, nil, func(t *testing.T, hub *scripted, s *Session) {
		requests := 0
		hub.post = func(w http.ResponseWriter, _, _ string) {
			requests++
			if s.bearer() != "fresh" {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, `{"status":401,"code":"token_expired"}`)
				return
			}
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"messageId":"m","seq":3}`)
		}
		renewals := 0
		st := s.Stream(StreamOptions{Transport: SSE, Renew: func(context.Context) (string, error) { renewals++; return "fresh", nil }})
		if _, err := st.Message(t.Context(), "hello", ""); err != nil || renewals != 1 || requests != 2 {
			t.Errorf("%d requests, %d renewals, %v", requests, renewals, err)
		}
	})
}

// A hub that names another epoch of the log does so on the same connection, and the
// answers to what was sent before still come on it.
func TestAnEpochOnTheWayLosesNoAnswer(t *testing.T) {
	sent := 0
	serve := func(ctx context.Context, c *websocket.Conn) {
		for {
			_, raw, err := c.Read(ctx)
			var cmd protocol.Command
			if err != nil || json.Unmarshal(raw, &cmd) != nil {
				return
			}
			sent++
			for _, frame := range []string{connected("e2", 1), ack(cmd, `{"messageId":"m1","seq":7}`)} {
				if c.Write(ctx, textMessage, []byte(frame)) != nil {
					return
				}
			}
		}
	}
	run(t, WebSocket, []part{{frames: []string{connected("e1", 1)}, then: serve}}, func(t *testing.T, _ *scripted, s *Session) {
		st := s.Stream(StreamOptions{})
		following(t, st, func(ctx context.Context) {
			if r, err := st.Message(ctx, "hello", "m1"); err != nil || r.Seq != 7 {
				t.Errorf("message: %+v, %v", r, err)
			}
		})
		if sent != 1 {
			t.Errorf("it was sent %d times", sent)
		}
	})
}
