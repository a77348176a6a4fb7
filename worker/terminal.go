package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// terminalQuiet is how long a program that logs people in says nothing before they are shown
// what it has said, and asked what to type.
const terminalQuiet = time.Second

// terminal is the agent's own program in a terminal, in which people log in (ACP, "Terminal
// authentication"). What it shows is in no log, since it has addresses and codes.
//
// The runner makes it and starts its goroutine, run, which owns the process. run tells the
// runner of its screen and its end by says, and has ended when gone is closed.
type terminal struct {
	spec  processtree.Spec
	says  chan terminalSays // unbuffered; never closed
	types chan string       // from the runner, which has asked for it; room for one
	stop  chan struct{}     // closed by the runner
	gone  chan struct{}

	// Owned by the runner.
	question  string // interaction of the question that is open; empty: none
	addresses []string
}

// terminalSays is what a terminal tells the runner: what its screen has, or how it ended.
type terminalSays struct {
	screen string
	ended  bool
	failed string // why the login did not succeed; empty: it did
}

func (t *terminal) run(ctx context.Context) {
	defer close(t.gone)
	tell := func(s terminalSays) bool {
		select {
		case t.says <- s:
			return true
		case <-t.stop:
		case <-ctx.Done():
		}
		return false
	}
	p, err := processtree.Start(ctx, t.spec)
	if err != nil {
		tell(terminalSays{ended: true, failed: err.Error()})
		return
	}
	chunks := make(chan []byte)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			chunk := make([]byte, 4096)
			n, err := p.Stdout.Read(chunk)
			if n > 0 {
				select {
				case chunks <- chunk[:n]:
				case <-p.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = p.Close()
		<-read
	}()
	var shown screen
	quiet := stoppedTimer()
	defer quiet.Stop()
	for {
		select {
		case chunk := <-chunks:
			shown.write(chunk)
			quiet.Reset(terminalQuiet)
		case <-quiet.C:
			if !tell(terminalSays{screen: shown.text()}) {
				return
			}
		case text := <-t.types:
			_ = p.Stdin.SetWriteDeadline(time.Now().Add(terminalQuiet)) // a program that does not read has ended soon
			if _, err := p.Stdin.Write([]byte(text + "\r")); err == nil {
				quiet.Reset(terminalQuiet) // also if it says nothing to it
			}
		case <-p.Exited():
			_ = p.Close()
			why := ""
			if exit := p.Wait(); exit.Code != 0 || exit.Lost {
				why = exit.String()
			}
			tell(terminalSays{ended: true, failed: why})
			return
		case <-t.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// beginTerminal runs the agent's program with what the method adds to it.
func (s *session) beginTerminal(m authMethod) {
	env := slices.Clone(s.agent.spec.Env)
	for name, value := range m.env() {
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
		env = append(env, name+"="+value)
	}
	if !isSet(env, "TERM") {
		env = append(env, "TERM=xterm-256color")
	}
	spec := s.agent.spec
	spec.Args, spec.Env, spec.Terminal = slices.Concat(s.provider.Args, m.Args), env, true
	t := &terminal{
		spec: spec, says: make(chan terminalSays), types: make(chan string, 1), stop: make(chan struct{}), gone: make(chan struct{}),
	}
	s.terminal = t
	s.log.Info("people log in by a terminal", "method", printable(m.ID))
	s.agents.Go(func() { t.run(s.w.life) })
}

// endTerminal ends the program, if one runs. It does not wait.
func (s *session) endTerminal() {
	if s.terminal != nil {
		close(s.terminal.stop)
		s.terminal = nil
	}
}

// terminalSays is the channel of the terminal, or nil.
func (s *session) terminalSays() <-chan terminalSays {
	if s.terminal == nil {
		return nil
	}
	return s.terminal.says
}

// addressPattern finds what people have to open.
var addressPattern = regexp.MustCompile(`https?://[^\s"'<>]+`)

// onTerminal shows people what the program shows, and goes on with the start when it has ended
// well: the agent is started again, since it has read its login already.
func (s *session) onTerminal(said terminalSays) {
	t := s.terminal
	if said.ended {
		s.dropTerminalQuestion()
		s.terminal = nil
		if said.failed != "" {
			s.agentFailed(protocol.TurnError{Code: protocol.TurnAgentStart, Message: fmt.Sprintf(
				"the login in a terminal did not succeed: %s. Send a message to try again", said.failed)})
			return
		}
		s.stopAgent() // the message begins the next one
		return
	}
	addresses := addressPattern.FindAllString(said.screen, -1)
	for i := range addresses {
		addresses[i] = strings.TrimRight(addresses[i], ".,;:!)]}") // of the sentence
	}
	if t.question != "" {
		if slices.Equal(addresses, t.addresses) {
			return // it moves, and asks the same
		}
		s.dropTerminalQuestion()
	}
	t.addresses = addresses
	message := said.screen
	if message == "" {
		message = "(The program shows nothing.)"
	}
	if len(addresses) > 0 {
		message = "Open this page: " + addresses[len(addresses)-1] + "\n\n" + message
	}
	data := protocol.ElicitationData{
		Mode: protocol.ElicitForm, Message: message,
		RequestedSchema: json.RawMessage(`{"type":"object","properties":{"input":{"type":"string","title":"What to type into it","maxLength":4096,` +
			`"description":"A code, or the number of a choice. Enter is pressed behind it. Close the question to give up."}}}`),
	}
	interaction := s.askPeople(data, func(c protocol.ElicitationCommand) {
		t.question = ""
		var typed struct {
			Input string `json:"input"`
		}
		if c.Action != protocol.ActionAccept || len(c.Content) > 0 && json.Unmarshal(c.Content, &typed) != nil {
			s.endTerminal()
			s.agentFailed(protocol.TurnError{Code: protocol.TurnAgentStart, Message: "nobody has finished the login in a terminal. Send a message to try again"})
			return
		}
		select {
		case t.types <- strings.Map(withoutControls, typed.Input):
		default: // impossible: it takes one for each question
		}
	})
	if t.question = interaction; interaction == "" {
		s.endTerminal()
		s.agentFailed(protocol.TurnError{Code: protocol.TurnAgentStart, Message: "nobody can be asked to log in"})
	}
}

// withoutControls keeps a line one line.
func withoutControls(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return -1
	}
	return r
}

// dropTerminalQuestion takes the open question about the terminal back.
func (s *session) dropTerminalQuestion() {
	t := s.terminal
	if t.question == "" || s.turn == nil || s.turn.asks[t.question] == nil {
		return
	}
	delete(s.turn.asks, t.question)
	s.publish(protocol.EventElicitationResolved, protocol.ElicitationResolvedData{InteractionID: t.question, Outcome: protocol.OutcomeCancelled})
	t.question = ""
}
