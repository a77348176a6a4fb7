package contracttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// run runs the program to its end and gives its exit code and output.
func run(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(hubtest.Environment(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// A flag wins over its variable, and that over the file.
func TestWhereSettingsComeFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(file, []byte("max-sessions-per-user: 1\nmax-message-bytes: 1KiB\nmax-queued-messages: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := serveEnv(t, []string{"SESSIONHUB_MAX_SESSIONS_PER_USER=2", "SESSIONHUB_CONFIG=" + file, "SESSIONHUB_MAX_MESSAGE_BYTES=2KiB"},
		"--max-sessions-per-user", "3")
	for range 2 {
		n.create(`{}`)
	}
	s := n.create(`{}`)
	n.refused(429, protocol.CodeSessionLimit, "POST", "/api/sessions", `{}`) // the flag's 3
	st := s.ws("")
	s.turn(st, strings.Repeat("x", 1500)) // the variable's 2 KiB
	n.refused(413, protocol.CodePayloadTooLarge, "POST", s.path+"/messages", `{"content":"`+strings.Repeat("x", 2100)+`"}`, s.bearer()...)
	s.send("/slow 20")
	st.until("output")
	for range 3 {
		s.send("waits")
	}
	n.refused(429, protocol.CodeQueueFull, "POST", s.path+"/messages", `{"content":"x"}`, s.bearer()...) // the file's 3
}

// What help shows, and how bad settings are told: all at once, exit code 2.
func TestUsage(t *testing.T) {
	code, help := run(t, nil, "help")
	if code != 0 {
		t.Errorf("help: exit code %d", code)
	}
	for flag, def := range map[string]string{
		"max-sessions-per-user": "100", "max-connections-per-user": "100", "max-connections-per-session": "20", "max-connections": "0",
		"rate-messages": "5/s:20", "rate-sessions": "1/s:10", "max-queued-messages": "32", "max-message-bytes": "1MiB",
		"session-idle-ttl": "24h", "approval-timeout": "1h", "listen": "127.0.0.1:8080", "admin-listen": "127.0.0.1:9464",
		"worker": "embedded", "worker-capacity": "8", "worker-buffer": "8MiB", "providers-file": "", "workspace-root": ".",
		"drain-timeout": "30s", "log-format": "auto", "log-level": "info", "log-max-events": "0", "log-max-bytes": "64MiB", "compact-after": "1m",
		"data-max-bytes": "10GiB", "data-max-sessions": "10000", "max-event-bytes": "1MiB", "max-attachment-bytes": "16MiB", "max-attachments-bytes": "64MiB", "write-timeout": "10s", "agent-idle": "10m", "config": "",
	} {
		variable := "SESSIONHUB_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		want := variable
		if def != "" {
			want += ", default " + def
		}
		if !strings.Contains(help, "--"+flag+" ") || !strings.Contains(help, want) {
			t.Errorf("help lacks --%s or %q", flag, want)
		}
	}
	code, out := run(t, []string{"SESSIONHUB_LOG_LEVEL=loud", "SESSIONHUB_RATE_MESSAGES=fast"},
		"serve", "--max-message-bytes", "1MB", "--max-connections=-1", "--approval-timeout", "soon", "--worker", "none-such")
	if code != 2 {
		t.Errorf("bad settings: exit code %d", code)
	}
	for _, want := range []string{"SESSIONHUB_LOG_LEVEL", "SESSIONHUB_RATE_MESSAGES", "--max-message-bytes", "--max-connections", "--approval-timeout", "--worker"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not name %s:\n%s", want, out)
		}
	}
	if code, out := run(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "sessionhub ") {
		t.Errorf("version: %d %q", code, out)
	}
	n := serve(t)
	if code, out := run(t, nil, "serve", "--listen", n.Host(), "--admin-listen", "127.0.0.1:0", "--workspace-root", n.Root); code != 1 || !strings.Contains(out, "--listen") {
		t.Errorf("an address in use: exit code %d: %s", code, out)
	}
}

// What the demo agent obeys, over the whole path.
func TestDemoProvider(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	answered := func(decision string) {
		t.Helper()
		q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
		ok[protocol.ApproveResponse](n, 200, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"`+decision+`"}`, s.bearer()...)
	}
	said := func(text string) string {
		t.Helper()
		if c := s.turn(st, text); c.StopReason != "end_turn" {
			t.Errorf("%s: %+v", text, c)
		}
		return st.text("text")
	}
	if got := said("good morning"); !strings.Contains(got, "good morning") || strings.Count(st.types(), "output") < 2 {
		t.Errorf("plain text: %q", got)
	}
	if got := said("/stream 5 20"); strings.Count(got, "\n") != 5 || len(got) != 100 || strings.Count(st.types(), "output") != 5 {
		t.Errorf("/stream: %q", got)
	}
	if said("/plan"); !strings.Contains(st.types(), "plan") {
		t.Errorf("/plan: %s", st.types())
	}
	if said("/think of something"); !strings.Contains(st.text("thought"), "of something") {
		t.Errorf("/think: %q", st.text("thought"))
	}
	if got := said("/slow 0.2"); !strings.Contains(got, "Done") {
		t.Errorf("/slow: %q", got)
	}
	if got := said("/help"); !strings.Contains(got, "/stream") || !strings.Contains(got, "/crash") {
		t.Errorf("/help: %q", got)
	}
	for decision, allowed := range map[string]bool{"allow_once": true, "reject_once": false} {
		st.seen = nil
		s.send("/approve shall I?")
		answered(decision)
		st.until("complete")
		if got := strings.ToLower(st.text("text")); !strings.Contains(got, strings.Split(decision, "_")[0]) {
			t.Errorf("/approve, %s: %q", decision, got)
		}
		st.seen = nil
		file := filepath.Join(n.Root, decision)
		s.send("/write " + decision + " the text")
		answered(decision)
		st.until("complete")
		if content, err := os.ReadFile(file); (err == nil) != allowed || allowed && string(content) != "the text" {
			t.Errorf("/write, %s: %q %v", decision, content, err)
		}
		if !strings.Contains(st.types(), "tool_call") {
			t.Errorf("/write: %s", st.types())
		}
		s.send("/run echo ran > run-" + decision)
		answered(decision)
		st.until("complete")
		if _, err := os.Stat(filepath.Join(n.Root, "run-"+decision)); (err == nil) != allowed {
			t.Errorf("/run, %s: %v", decision, err)
		}
	}
	if c := s.turn(st, "/fail as it must"); c.StopReason != "error" || c.Error == nil || c.Error.Code != protocol.TurnAgentFailed || !strings.Contains(c.Error.Message, "as it must") {
		t.Errorf("/fail: %+v", c)
	}
	if c := s.turn(st, "/crash"); c.StopReason != "error" || c.Error == nil || c.Error.Code != protocol.TurnAgentCrashed {
		t.Errorf("/crash: %+v", c)
	}
	if got := said("and again"); !strings.Contains(got, "and again") {
		t.Errorf("after a crash: %q", got)
	}
}

// An agent is stopped when nobody has written for --agent-idle, and starts
// again with the next message.
func TestIdleAgentIsStopped(t *testing.T) {
	t.Parallel()
	n := serve(t, "--agent-idle", "300ms")
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "hello")
	judge.Within(t, 10e9, "the agent has been stopped", func() bool { return n.metrics()[`sessionhub_worker_sessions{provider="demo"}`] == 0 })
	if v := s.view(); v.Status != "idle" {
		t.Errorf("then the session is %s", v.Status)
	}
	if c := s.turn(st, "hello again"); c.StopReason != "end_turn" {
		t.Errorf("the next message: %+v", c)
	}
}
