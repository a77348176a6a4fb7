package demoagent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	acp "github.com/coder/acp-go-sdk"
)

const (
	// outputPause is the least time between two updates with a command's output:
	// each holds all of it again, since content replaces content.
	outputPause = 100 * time.Millisecond
	// maxOutputBytes is how much of a command's output is kept, its end.
	maxOutputBytes = 32 << 10
	// pipeGrace is how long a command's output is waited for once it has ended
	// or was killed: a child that it left behind may hold the pipe for ever.
	pipeGrace = 500 * time.Millisecond
)

// run runs a shell command in the working directory. Its process group is killed
// by a cancel and by the agent's end, and also when the command ends by itself:
// nothing stays in the background. What has left the group (setsid) gets away; in
// the hub it is still below the agent's supervisor.
func (t *turn) run(args string) error {
	c := t.tool(acp.ToolKindExecute, args, map[string]any{"command": args})
	allowed, how, err := c.permit()
	if err != nil {
		return err
	}
	if !allowed {
		return t.say(fmt.Sprintf("Not run: %s.", how))
	}
	var out tail
	cmd := exec.CommandContext(t.ctx, "sh", "-c", args)
	cmd.Dir = t.s.cwd
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = pipeGrace
	if err := cmd.Start(); err != nil {
		if err := c.end(acp.ToolCallStatusFailed, nil, map[string]any{"error": err.Error()}); err != nil {
			return err
		}
		return t.say("Not run: " + err.Error())
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		// A group's number is not given away while a member lives.
		_ = killGroup(cmd.Process.Pid)
		close(ended)
	}()
	c.watch(&out, ended)

	text, _ := out.text()
	output := map[string]any{"output": text}
	status, said := acp.ToolCallStatusFailed, ""
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		output["signal"] = ws.Signal().String()
		said = fmt.Sprintf("The command was ended by a signal: %v.", ws.Signal())
	} else {
		code := cmd.ProcessState.ExitCode()
		output["exitCode"] = code
		if code == 0 {
			status = acp.ToolCallStatusCompleted
		}
		said = fmt.Sprintf("The command ended with exit code %d.", code)
	}
	if err := c.end(status, textContent(text), output); err != nil {
		return err
	}
	return t.say(said)
}

func killGroup(leader int) error {
	err := syscall.Kill(-leader, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// watch shows the output as it comes, until ended is closed. Errors of showing
// are left to the turn's next update: the command is to be waited for anyway.
func (c *toolCall) watch(out *tail, ended <-chan struct{}) {
	_ = c.progress(nil)
	ticker := time.NewTicker(outputPause)
	defer ticker.Stop()
	shown := int64(0)
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
			if text, total := out.text(); total > shown {
				shown = total
				_ = c.progress(textContent(text))
			}
		}
	}
}

func textContent(text string) []acp.ToolCallContent {
	if text == "" {
		return nil
	}
	return []acp.ToolCallContent{acp.ToolContent(acp.TextBlock(text))}
}

// tail keeps the end of what is written to it, maxOutputBytes at most. It may be
// written and read at the same time.
type tail struct {
	mu    sync.Mutex
	buf   []byte // at most twice maxOutputBytes
	total int64  // bytes written
}

// Write never fails.
func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += int64(len(p))
	n := len(p)
	p = p[max(0, len(p)-maxOutputBytes):]
	if len(o.buf)+len(p) > 2*maxOutputBytes {
		o.buf = append(o.buf[:0], o.buf[len(o.buf)-maxOutputBytes:]...)
	}
	o.buf = append(o.buf, p...)
	return n, nil
}

// text returns the end of the output, with a mark where it was cut, and how
// many bytes were written in all.
func (o *tail) text() (string, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.buf[max(0, len(o.buf)-maxOutputBytes):]
	text := strings.ToValidUTF8(string(kept), "\uFFFD")
	if cut := o.total - int64(len(kept)); cut > 0 {
		text = fmt.Sprintf("[%d bytes before this were cut]\n%s", cut, text)
	}
	return text, o.total
}
