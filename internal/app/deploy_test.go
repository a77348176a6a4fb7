package app

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sessionhub/internal/config"
	"sessionhub/worker/wslink"
)

// composeFile is of deploy/compose.yaml what can be judged here.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Volumes     []string
		DependsOn   any `yaml:"depends_on"`
	}
	Volumes map[string]any
}

// What deploy/compose.yaml starts is understood by the program, and the files and
// services that it names are there.
func TestComposeFileFitsTheProgram(t *testing.T) {
	const folder = "../../deploy"
	raw, err := os.ReadFile(filepath.Join(folder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for name, s := range file.Services {
		environ := func(variable string) (string, bool) {
			v, ok := s.Environment[variable]
			if strings.HasPrefix(v, "${") {
				v = strings.Repeat("k", 32) // the secret that the user sets
			}
			return v, ok
		}
		if s.Image == "sessionhub" {
			parsed++
			switch s.Command[0] {
			case "serve":
				_, err = config.Parse(s.Command[1:], environ)
			case "worker":
				_, err = config.ParseWorker(s.Command[1:], environ, wslink.ParseHub)
			default:
				t.Errorf("%s: the program knows no %q", name, s.Command[0])
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := file.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(folder, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		var needs []string
		switch d := s.DependsOn.(type) {
		case []any:
			for _, n := range d {
				needs = append(needs, n.(string))
			}
		case map[string]any:
			needs = slices.Collect(maps.Keys(d))
		}
		for _, n := range needs {
			if _, ok := file.Services[n]; !ok {
				t.Errorf("%s needs %s, which is not there", name, n)
			}
		}
	}
	if parsed != 3 {
		t.Errorf("%d services run the program, want two nodes and a worker", parsed)
	}
	// The proxy's nodes are services.
	nodes, err := os.ReadFile(filepath.Join(folder, "nodes.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	servers := 0
	for line := range strings.Lines(string(nodes)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "server" {
			servers++
			host, _, _ := strings.Cut(words[2], ":")
			if _, ok := file.Services[host]; !ok {
				t.Errorf("the proxy has a server %s, which is no service", host)
			}
		}
	}
	if servers != 2 {
		t.Errorf("the proxy has %d servers, want 2", servers)
	}
}
