package demoagent

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	acp "github.com/coder/acp-go-sdk"
)

// The options of every question. Their ids are their kinds.
const (
	allowOnce    acp.PermissionOptionId = "allow_once"
	allowAlways  acp.PermissionOptionId = "allow_always"
	rejectOnce   acp.PermissionOptionId = "reject_once"
	rejectAlways acp.PermissionOptionId = "reject_always"
)

func permissionOptions() []acp.PermissionOption {
	return []acp.PermissionOption{
		{OptionId: allowOnce, Kind: acp.PermissionOptionKindAllowOnce, Name: "Allow once"},
		{OptionId: allowAlways, Kind: acp.PermissionOptionKindAllowAlways, Name: "Always allow"},
		{OptionId: rejectOnce, Kind: acp.PermissionOptionKindRejectOnce, Name: "Reject"},
		{OptionId: rejectAlways, Kind: acp.PermissionOptionKindRejectAlways, Name: "Always reject"},
	}
}

// maxTitleBytes clips a tool call's title; the whole text is in its input.
const maxTitleBytes = 200

// toolCall is a tool call of a turn (ACP, "Tool Calls").
type toolCall struct {
	t         *turn
	id        acp.ToolCallId
	title     string
	kind      acp.ToolKind
	input     map[string]any
	content   []acp.ToolCallContent
	locations []acp.ToolCallLocation
}

// tool makes a tool call. Its id is random: one that counts would come again
// after a restart of the agent, in the same log.
func (t *turn) tool(kind acp.ToolKind, title string, input map[string]any) *toolCall {
	return &toolCall{
		t: t, id: acp.ToolCallId("call-" + rand.Text()), kind: kind,
		title: clip(title, maxTitleBytes), input: input,
	}
}

// rule is what an "always" holds for: the same tool with the same input.
func (c *toolCall) rule() string {
	input, err := json.Marshal(c.input)
	if err != nil {
		return string(c.id) // never equal to another's
	}
	return string(c.kind) + " " + string(input)
}

// permit announces the tool call and asks for approval, if it is to. how names
// the option that came, or what replaced the question. A tool call that may not
// run is marked failed.
func (c *toolCall) permit() (allowed bool, how string, err error) {
	t := c.t
	if err := t.send(acp.SessionUpdate{ToolCall: &acp.SessionUpdateToolCall{
		ToolCallId: c.id, Title: c.title, Kind: c.kind, Status: acp.ToolCallStatusPending,
		RawInput: c.input, Content: c.content, Locations: c.locations,
	}}); err != nil {
		return false, "", err
	}
	allowed, how, err = c.ask()
	if err != nil || !allowed {
		if failed := c.end(acp.ToolCallStatusFailed, nil, nil); err == nil {
			err = failed
		}
	}
	return allowed, how, err
}

func (c *toolCall) ask() (allowed bool, how string, err error) {
	t := c.t
	if mode, _ := t.s.settings(); mode == modeAuto {
		return true, "not asked, since the mode is auto", nil
	}
	if allowed, known := t.s.ruled(c.rule()); known {
		if allowed {
			return true, string(allowAlways), nil
		}
		return false, string(rejectAlways), nil
	}
	answer, err := t.conn.RequestPermission(t.ctx, acp.RequestPermissionRequest{
		SessionId: t.s.id,
		ToolCall: acp.ToolCallUpdate{
			ToolCallId: c.id, Title: &c.title, Kind: &c.kind, Status: acp.Ptr(acp.ToolCallStatusPending),
			RawInput: c.input, Content: c.content, Locations: c.locations,
		},
		Options: permissionOptions(),
	})
	switch {
	case err != nil:
		return false, "", fmt.Errorf("ask for approval: %w", err)
	case answer.Outcome.Selected == nil:
		return false, "", errCancelled
	}
	option := answer.Outcome.Selected.OptionId
	switch option {
	case allowOnce, allowAlways:
		allowed = true
	case rejectOnce, rejectAlways:
	default: // never offered, so it allows nothing
		return false, "an option that I did not offer", nil
	}
	if option == allowAlways || option == rejectAlways {
		t.s.remember(c.rule(), allowed)
	}
	return allowed, string(option), nil
}

// progress shows what a tool call has done so far; content replaces the last.
func (c *toolCall) progress(content []acp.ToolCallContent) error {
	return c.t.send(acp.SessionUpdate{ToolCallUpdate: &acp.SessionToolCallUpdate{
		ToolCallId: c.id, Status: acp.Ptr(acp.ToolCallStatusInProgress), Content: content,
	}})
}

// end is the tool call's last update; it is sent also after a cancel.
func (c *toolCall) end(status acp.ToolCallStatus, content []acp.ToolCallContent, output any) error {
	return c.t.settle(acp.SessionUpdate{ToolCallUpdate: &acp.SessionToolCallUpdate{
		ToolCallId: c.id, Status: &status, Content: content, RawOutput: output,
	}})
}

func (t *turn) approve(args string) error {
	args = strings.TrimSpace(args)
	c := t.tool(acp.ToolKindOther, args, map[string]any{"text": args})
	allowed, how, err := c.permit()
	if err != nil {
		return err
	}
	if !allowed {
		return t.say(fmt.Sprintf("Not approved: %s.", how))
	}
	if err := c.end(acp.ToolCallStatusCompleted, nil, map[string]any{"option": how}); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("Approved: %s.", how))
}

// maxOldBytes is the largest file whose old text is shown beside the new one.
const maxOldBytes = 64 << 10

func (t *turn) write(args string) error {
	path, text := cutWord(args)
	root, err := os.OpenRoot(t.s.cwd)
	if err != nil {
		return t.say("I cannot open the working directory.")
	}
	defer root.Close()
	name, err := inside(t.s.cwd, path)
	if err != nil {
		return t.say(fmt.Sprintf("I may not write %s: %v.", path, err))
	}
	// Root follows links, but never out of the directory.
	old, err := oldText(root, name)
	if err != nil {
		return t.say(fmt.Sprintf("I may not write %s: %v.", path, err))
	}
	full := filepath.Join(t.s.cwd, name)
	c := t.tool(acp.ToolKindEdit, "Write "+name, map[string]any{"path": name, "content": text})
	c.content = []acp.ToolCallContent{{Diff: &acp.ToolCallContentDiff{Path: full, NewText: text, OldText: old, Type: "diff"}}}
	c.locations = []acp.ToolCallLocation{{Path: full}}
	allowed, how, err := c.permit()
	if err != nil {
		return err
	}
	if !allowed {
		return t.say(fmt.Sprintf("Not written: %s.", how))
	}
	if err := c.progress(nil); err != nil {
		_ = c.end(acp.ToolCallStatusFailed, nil, nil)
		return err
	}
	if err := writeFile(root, name, text); err != nil {
		if err := c.end(acp.ToolCallStatusFailed, nil, map[string]any{"error": err.Error()}); err != nil {
			return err
		}
		return t.say(fmt.Sprintf("Not written: %v.", err))
	}
	if err := c.end(acp.ToolCallStatusCompleted, nil, map[string]any{"bytes": len(text)}); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("I wrote %d bytes to %s.", len(text), name))
}

// inside returns a path relative to dir, or an error if it leads out of it. An
// absolute path may name the directory as it was given, or as it is behind links.
func inside(dir, path string) (string, error) {
	if filepath.IsAbs(path) {
		rel, err := filepath.Rel(dir, path)
		if resolved, linkErr := filepath.EvalSymlinks(dir); linkErr == nil && (err != nil || !filepath.IsLocal(rel)) {
			rel, err = filepath.Rel(resolved, path)
		}
		if err != nil {
			return "", errOutside
		}
		path = rel
	}
	path = filepath.Clean(path)
	if !filepath.IsLocal(path) || path == "." {
		return "", errOutside
	}
	return path, nil
}

var (
	errOutside    = errors.New("it is not a file inside the working directory")
	errNotRegular = errors.New("it is not a regular file")
)

// oldText returns what a file holds, nil if there is none or it is no short text.
// The error says that the file cannot be written at all.
func oldText(root *os.Root, name string) (*string, error) {
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Size() > maxOldBytes:
		return nil, nil
	}
	data, err := root.ReadFile(name)
	if err != nil || !utf8.Valid(data) {
		return nil, nil
	}
	text := string(data)
	return &text, nil
}

func writeFile(root *os.Root, name, text string) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return cause(err)
	}
	// Looked at again: opening a pipe that came in the meantime would wait.
	if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return errNotRegular
	}
	return cause(root.WriteFile(name, []byte(text), 0o644))
}

// cause is the error below a path error, whose path the reader knows already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
