package config

import (
	"bytes"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// anyHub stands for the parser of package wslink, which has its own tests.
func anyHub(text string) (*url.URL, error) {
	if text == "nonsense" {
		return nil, errors.New("is no URL")
	}
	return url.Parse(text)
}

func mustURL(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

// Each line of the worker's table, from a flag, a variable and a file.
func TestEveryWorkerSetting(t *testing.T) {
	changed := map[string]struct {
		text string
		set  func(*Worker)
	}{
		"hub":             {"wss://hub.example.org", func(w *Worker) { w.Hub = mustURL("wss://hub.example.org") }},
		"name":            {"w 1", func(w *Worker) { w.Name = "w 1" }},
		"admin-listen":    {"127.0.0.1:1", func(w *Worker) { w.AdminListen = "127.0.0.1:1" }},
		"admin-hosts":     {"node1", func(w *Worker) { w.AdminHosts = []string{"node1"} }},
		"worker-capacity": {"3", func(w *Worker) { w.WorkerCapacity = 3 }},
		"worker-buffer":   {"64KiB", func(w *Worker) { w.WorkerBuffer = 65536 }},
		"worktrees":       {"/t", func(w *Worker) { w.Worktrees = "/t" }},
		"workspace-root":  {"/w", func(w *Worker) { w.WorkspaceRoot = "/w" }},
		"workspace":       {"team-disk", func(w *Worker) { w.Workspace = "team-disk" }},
		"providers-file":  {"p.yaml", func(w *Worker) { w.ProvidersFile = "p.yaml" }},
		"discover-agents": {"true", func(w *Worker) { w.DiscoverAgents = true }},
		"turn-timeout":    {"45m", func(w *Worker) { w.TurnTimeout = 45 * time.Minute }},
		"agent-idle":      {"90s", func(w *Worker) { w.AgentIdle = 90 * time.Second }},
		"drain-timeout":   {"0", func(w *Worker) { w.DrainTimeout = 0 }},
		"log-format":      {"json", func(w *Worker) { w.LogFormat = LogJSON }},
		"log-level":       {"debug", func(w *Worker) { w.LogLevel = -4 }},

		"leave-out-agents":    {"codex", func(w *Worker) { w.LeaveOutAgents = []string{"codex"} }},
		"agent-children-idle": {"3h", func(w *Worker) { w.ChildrenIdle = 3 * time.Hour }},
	}
	key := env{"SESSIONHUB_WORKER_KEY": "the-key"}
	base := func() Worker {
		w := DefaultWorker()
		w.Hub, w.WorkerKey = mustURL("ws://h"), NewSecret("the-key")
		return w
	}
	d := DefaultWorker()
	for _, row := range d.settings(anyHub) {
		if row.name == configName {
			continue
		}
		c, ok := changed[row.name]
		if !ok {
			t.Errorf("%s is not tested", row.name)
			continue
		}
		want := base()
		c.set(&want)
		hub := []string{"--hub", "ws://h"}
		for source, parse := range map[string]func() (Worker, error){
			"flag": func() (Worker, error) { return ParseWorker(append(hub, "--"+row.name+"="+c.text), key.lookup, anyHub) },
			"variable": func() (Worker, error) {
				return ParseWorker(without(hub, row.name), key.with(variable(row.name), c.text).lookup, anyHub)
			},
			"file": func() (Worker, error) {
				return ParseWorker(append(without(hub, row.name), "--config", writeFile(t, row.name+": "+c.text)), key.lookup, anyHub)
			},
		} {
			got, err := parse()
			got.ConfigFile = ""
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s from %s: %+v, %v", row.name, source, got, err)
			}
		}
	}
	if n := reflect.TypeFor[Worker]().NumField(); len(d.settings(anyHub))+len(d.secrets()) != n || len(changed) != n-2 {
		t.Errorf("%d fields, %d settings, %d secrets, %d of them tested", n, len(d.settings(anyHub)), len(d.secrets()), len(changed))
	}
}

// without leaves the hub's flag out where another source gives it.
func without(hub []string, name string) []string {
	if name == "hub" {
		return nil
	}
	return hub
}

func TestWorkerNeedsHubAndKey(t *testing.T) {
	_, err := ParseWorker([]string{"--worker-capacity", "0"}, env{}.lookup, anyHub)
	got := problems(t, err, 3)
	for i, source := range []string{"--worker-capacity", "--hub", "SESSIONHUB_WORKER_KEY"} {
		if got[i].Source != source {
			t.Errorf("problem %d is %s", i, got[i])
		}
	}
	// An address may hold a password, and the key has no flag.
	_, err = ParseWorker([]string{"--hub", "nonsense", "--worker-key", "hunter2"}, env{}.lookup, anyHub)
	problems(t, err, 3)
	if strings.Contains(err.Error(), "nonsense") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("it repeats a secret: %v", err)
	}
	var out bytes.Buffer
	if err := WorkerUsage(&out); err != nil || !strings.Contains(out.String(), "--hub URL") || !strings.Contains(out.String(), "SESSIONHUB_WORKER_KEY or SESSIONHUB_WORKER_KEY_FILE") {
		t.Errorf("%v\n%s", err, &out)
	}
}
