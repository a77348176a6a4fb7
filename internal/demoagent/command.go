package demoagent

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	acp "github.com/coder/acp-go-sdk"
)

// Limits of the commands' arguments, and the pace of what has none.
const (
	maxPieces     = 1_000_000
	defaultBytes  = 20
	maxBytes      = 64 << 10
	maxPerSecond  = 1_000_000
	maxSlow       = 24 * time.Hour
	maxQuoteBytes = 2000
	wordPause     = 10 * time.Millisecond
	planPause     = 150 * time.Millisecond
	crashCode     = 3 // the exit status of /crash
)

// command is one line of /help and what it does.
type command struct {
	name, args, help string
	run              func(t *turn, args string) error
}

func commands() []command {
	return []command{
		{"/stream", "N [bytes] [perSecond]", "N numbered pieces of text", (*turn).stream},
		{"/approve", "TEXT", "asks for approval, then says which option came", (*turn).approve},
		{"/write", "PATH TEXT", "asks, then writes the file in the working directory", (*turn).write},
		{"/run", "COMMAND", "asks, then runs the command in the working directory", (*turn).run},
		{"/ask", "[QUESTION]", "asks you to fill a form, then says what came", (*turn).askForm},
		{"/page", "URL", "asks you to open a page, then says what came", (*turn).askPage},
		{"/plan", "", "a plan that makes progress", (*turn).plan},
		{"/think", "TEXT", "thinks aloud, then answers", (*turn).thinkAloud},
		{"/usage", "", "tells how full its context is, and the cost", (*turn).usage},
		{"/title", "TEXT", "names the session", (*turn).title},
		{"/commands", "", "tells programs which commands there are", (*turn).tellCommands},
		{"/slow", "SECONDS", "works for so long; it can be steered meanwhile", (*turn).slow},
		{"/background", "SECONDS", "goes on for so long when the turn is over, and then asks", (*turn).goOn},
		{"/fail", "[MESSAGE]", "fails with this error", (*turn).fail},
		{"/crash", "", "ends the agent's process in mid-turn", (*turn).crash},
		{"/model", "", "tells the model, the mode and the directory", (*turn).model},
		{"/option", "ID VALUE", "changes its mode, model or tone by itself", (*turn).option},
		{"/help", "", "this list", (*turn).help},
	}
}

// obey does what the first line of a message says, or answers plain text.
func (t *turn) obey(text string) error {
	if err := t.ctx.Err(); err != nil {
		return err // cancelled before it could begin
	}
	line, _, _ := strings.Cut(text, "\n")
	line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t") // what ends it may belong to a file's text
	if !strings.HasPrefix(line, "/") {
		return t.reply(text)
	}
	name, args := cutWord(line)
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		if needed := c.args != "" && c.args[0] != '['; needed && strings.TrimSpace(args) == "" {
			return t.say(fmt.Sprintf("Usage: %s %s. /help lists all commands.", c.name, c.args))
		}
		return c.run(t, args)
	}
	return t.say(fmt.Sprintf("I have no command %s. /help lists those that I have.", clip(name, 100)))
}

// cutWord splits at the first white space.
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// clip returns the beginning of a text, whole runes of at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// reply answers plain text, in pieces of a few words as a model would.
func (t *turn) reply(text string) error {
	if text = strings.TrimSpace(text); text == "" {
		return t.say("That message has no text. Try /help.")
	}
	if t.s.chosen()[toneOption] == toneLoud {
		text = strings.ToUpper(text)
	}
	words := strings.SplitAfter(fmt.Sprintf(
		"You said: %s\n\nI am the demo agent: no model, but everything else is real. Try /help.",
		clip(text, maxQuoteBytes)), " ")
	step := max(3, (len(words)+15)/16)
	for i := 0; i < len(words); i += step {
		if i > 0 {
			if err := t.wait(wordPause); err != nil {
				return err
			}
		}
		if err := t.say(strings.Join(words[i:min(i+step, len(words))], "")); err != nil {
			return err
		}
	}
	return nil
}

// stream sends pieces that begin with their number, from 1 on, so that a reader
// can tell whether one is missing.
func (t *turn) stream(args string) error {
	n, size, perSecond, err := streamArgs(strings.Fields(args))
	if err != nil {
		return t.say(err.Error())
	}
	start := time.Now()
	for i := 1; i <= n; i++ {
		if perSecond > 0 {
			// Paced from the beginning, not from the last piece: the rate holds
			// also where timers are coarser than the distance of two pieces.
			due := start.Add(time.Duration(i-1) * time.Second / time.Duration(perSecond))
			if d := time.Until(due); d > 0 {
				if err := t.wait(d); err != nil {
					return err
				}
			}
		}
		if err := t.say(piece(i, size)); err != nil {
			return err
		}
	}
	return nil
}

// piece is "17 xxxx\n": size bytes, or more if its number needs them.
func piece(i, size int) string {
	head := strconv.Itoa(i) + " "
	return head + strings.Repeat("x", max(0, size-len(head)-1)) + "\n"
}

// streamArgs reads N, bytes and perSecond; 0 perSecond is as fast as possible.
func streamArgs(fields []string) (n, size, perSecond int, err error) {
	values := []int{0, defaultBytes, 0}
	limits := []struct {
		name     string
		low, top int
	}{{"N", 1, maxPieces}, {"bytes", 1, maxBytes}, {"perSecond", 0, maxPerSecond}}
	if len(fields) > len(limits) {
		return 0, 0, 0, fmt.Errorf("/stream takes N, bytes and perSecond, no more")
	}
	for i, field := range fields {
		v, err := strconv.Atoi(field)
		if l := limits[i]; err != nil || v < l.low || v > l.top {
			return 0, 0, 0, fmt.Errorf("/stream: %s is a number from %d to %d, not %q", l.name, l.low, l.top, clip(field, 40))
		}
		values[i] = v
	}
	return values[0], values[1], values[2], nil
}

func (t *turn) slow(args string) error {
	d, err := seconds("/slow", args)
	if err != nil {
		return t.say(err.Error())
	}
	// A sign of life, so that a watcher can tell slow from stuck.
	if err := t.say(fmt.Sprintf("Working for %v …\n", d)); err != nil {
		return err
	}
	if err := t.wait(d); err != nil {
		return err
	}
	return t.say("Done.")
}

// seconds reads the SECONDS of a command.
func seconds(command, args string) (time.Duration, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(args), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxSlow.Seconds() {
		return 0, fmt.Errorf("%s: SECONDS is a number from 0 to %.0f, not %q", command, maxSlow.Seconds(), clip(args, 40))
	}
	return time.Duration(n * float64(time.Second)), nil
}

func (t *turn) plan(string) error {
	steps := []acp.PlanEntry{
		{Content: "Look at the question", Priority: acp.PlanEntryPriorityHigh},
		{Content: "Pretend to work", Priority: acp.PlanEntryPriorityMedium},
		{Content: "Tell about it", Priority: acp.PlanEntryPriorityLow},
	}
	for done := 0; done <= len(steps); done++ {
		// The whole plan each time, as the protocol wants it ("Agent Plan").
		for i := range steps {
			switch {
			case i < done:
				steps[i].Status = acp.PlanEntryStatusCompleted
			case i == done:
				steps[i].Status = acp.PlanEntryStatusInProgress
			default:
				steps[i].Status = acp.PlanEntryStatusPending
			}
		}
		if err := t.send(acp.UpdatePlan(steps...)); err != nil {
			return err
		}
		if done < len(steps) {
			if err := t.wait(planPause); err != nil {
				return err
			}
		}
	}
	return t.say("All steps of the plan are done.")
}

func (t *turn) thinkAloud(args string) error {
	for _, thought := range []string{"Let me think about this: ", args} {
		if err := t.think(thought); err != nil {
			return err
		}
		if err := t.wait(wordPause); err != nil {
			return err
		}
	}
	return t.say("I have thought about it.")
}

// fail answers the prompt with an error of the agent's own (JSON-RPC 2.0,
// section 5.1: internal error).
func (t *turn) fail(args string) error {
	message := strings.TrimSpace(args)
	if message == "" {
		message = "failed, as asked for"
	}
	return &acp.RequestError{Code: -32603, Message: message}
}

// crash ends the process without an answer, as a bug would.
func (t *turn) crash(string) error {
	fmt.Fprintln(os.Stderr, "demo agent: /crash")
	os.Exit(crashCode)
	return nil
}

func (t *turn) model(string) error {
	mode, model := t.s.settings()
	return t.say(fmt.Sprintf("Model %s, mode %s, working directory %s", model, mode, t.s.cwd))
}

func (t *turn) help(string) error {
	var b strings.Builder
	b.WriteString("I answer plain text, and obey the first line of a message:\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "- `%s` %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
	mode, model := t.s.settings()
	fmt.Fprintf(&b, "\nThe model is %s, the mode is %s.\n", model, mode)
	return t.say(b.String())
}
