package contracttest

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// A session's changes are those that came after its agent was started, and need the scope.
func TestChangesOfASession(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	write("committed", "1\n")
	git("add", "-A")
	git("commit", "-q", "-m", "x")
	write("committed", "1\n2\n")
	write("before", "x\n")
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-service-1234567890"}, "--workspace-root", filepath.Dir(dir))
	n.key = "key-service-1234567890"
	s := n.create(`{"workingDirectory":"s"}`)
	list := s.path + "/changes"
	if c := ok[protocol.Changes](n, 200, "GET", list, ""); c.Since != protocol.SinceHead || len(c.Files) != 2 {
		t.Errorf("before the first message: %+v", c)
	}
	s.send("/write since one two")
	var asked []protocol.ToolApprovalData
	for end := time.Now().Add(judge.Patience); len(asked) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		asked = s.open()
	}
	if len(asked) != 1 {
		t.Fatalf("%d questions", len(asked))
	}
	s.allow(asked[0].InteractionID)
	s.logged(`"end_turn"`, 20*time.Second)
	c := ok[protocol.Changes](n, 200, "GET", list, "")
	if c.Since != protocol.SinceStart || len(c.Files) != 1 || c.Files[0].Path != "since" || c.Files[0].Status != protocol.ChangeUntracked {
		t.Errorf("after the first message: %+v", c)
	}
	d := ok[protocol.FileDiff](n, 200, "GET", list+"/diff?path=since", "")
	if !strings.Contains(d.Diff, "+one two") {
		t.Errorf("diff %+v", d)
	}
	for _, path := range []string{list, list + "/diff?path=since"} {
		n.refused(http.StatusForbidden, protocol.CodeScope, "GET", path, "", s.bearer()...)
	}
	n.refused(http.StatusNotFound, protocol.CodeNotFound, "GET", list+"/diff?path=committed", "")
	n.refused(http.StatusForbidden, protocol.CodePathNotAllowed, "GET", list+"/diff?path=..%2Fx", "")
	for _, query := range []string{"", "?path=", "?path=since&offset=x", "?path=since&offset=-1", "?path=since&offset=99999999", "?path=since&offset=5000"} {
		n.refused(http.StatusBadRequest, protocol.CodeInvalidRequest, "GET", list+"/diff"+query, "")
	}
}
