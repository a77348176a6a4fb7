package app

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Direct imports go one way. A package that is not in the list may import none
// of ours: whoever adds one writes it down here, with the reason.
var mayImport = map[string][]string{
	"sessionhub/cmd/sessionhub": {
		"sessionhub/internal/app",                                              // runs the parts
		"sessionhub/internal/auth",                                             // the token command
		"sessionhub/client", "sessionhub/internal/chat", "sessionhub/protocol", // the chat command
		"sessionhub/internal/bench",       // the bench command
		"sessionhub/internal/config",      // flags
		"sessionhub/internal/demoagent",   // the demo-agent command
		"sessionhub/internal/processtree", // the supervise command
	},
	"sessionhub/internal/app": {
		"sessionhub/handlers", "sessionhub/hub", "sessionhub/hub/memstore", "sessionhub/hub/valkeystore", "sessionhub/internal/auth",
		"sessionhub/internal/config", "sessionhub/metrics", "sessionhub/protocol", "sessionhub/web", "sessionhub/worker", "sessionhub/worker/wslink", // it joins them
	},
	"sessionhub/docs": {}, // two files
	"sessionhub/handlers": {
		"sessionhub/docs",            // serves the references
		"sessionhub/handlers/wsconn", // the bridge to fasthttp
		"sessionhub/hub",             // what it serves
		"sessionhub/internal/auth",   // who may
		"sessionhub/metrics", "sessionhub/protocol",
	},
	"sessionhub/hub":             {"sessionhub/metrics", "sessionhub/protocol"}, // no HTTP, no store, no worker
	"sessionhub/hub/memstore":    {"sessionhub/hub", "sessionhub/protocol"},     // a store knows its port
	"sessionhub/hub/valkeystore": {"sessionhub/hub", "sessionhub/protocol"},
	"sessionhub/hub/hubtest":     {"sessionhub/hub", "sessionhub/protocol"},
	"sessionhub/worker":          {"sessionhub/internal/processtree", "sessionhub/protocol"}, // never the hub: it may be far away
	"sessionhub/worker/wslink":   {"sessionhub/protocol", "sessionhub/worker"},               // its errors
	"sessionhub/metrics":         {"sessionhub/protocol"},                                    // label values
	"sessionhub/internal/auth": {
		"sessionhub/protocol", // names of headers and subprotocols
	},
	"sessionhub/internal/config":              {},
	"sessionhub/client":                       {"sessionhub/protocol"},                                                        // what others build on: nothing of the hub's inside
	"sessionhub/internal/soak":                {"sessionhub/client", "sessionhub/internal/faultproxy", "sessionhub/protocol"}, // breaks and judges from outside
	"sessionhub/internal/bench":               {"sessionhub/client", "sessionhub/protocol"},                                   // measures from outside
	"sessionhub/internal/fakemodel/fakemodel": {"sessionhub/internal/fakemodel"},                                              // serves it
	"sessionhub/internal/chat":                {"sessionhub/client", "sessionhub/protocol"},                                   // a person's end of the wire
}

func TestImportsGoOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "sessionhub/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, out)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		seen++
		for _, imported := range words[1:] {
			if strings.HasPrefix(imported, "sessionhub/") && !slices.Contains(mayImport[words[0]], imported) {
				t.Errorf("%s imports %s, which the list does not allow", words[0], imported)
			}
		}
	}
	if seen < len(mayImport) {
		t.Errorf("go list gave %d packages: too few", seen)
	}
}

// The heart knows no transport and no store's client.
func TestHubAndWorkerKnowNoTransport(t *testing.T) {
	for pkg, banned := range map[string][]string{
		"sessionhub/hub":      {"net/http", "github.com/gofiber", "github.com/valyala", "github.com/coder/websocket", "github.com/valkey-io"},
		"sessionhub/worker":   {"github.com/gofiber", "github.com/valyala", "github.com/coder/websocket", "sessionhub/hub"},
		"sessionhub/protocol": {"github.com", "golang.org", "sessionhub/"},
	} {
		out, err := exec.Command("go", "list", "-f", `{{range .Imports}}{{.}} {{end}}`, pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v: %s", err, out)
		}
		for _, imported := range strings.Fields(string(out)) {
			for _, b := range banned {
				if strings.HasPrefix(imported, b) {
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
		}
	}
}
