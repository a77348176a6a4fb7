package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
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
		"sessionhub/client", "sessionhub/internal/chat", "sessionhub/protocol", // the chat and export commands
		"sessionhub/internal/bench",       // the bench command
		"sessionhub/internal/config",      // flags
		"sessionhub/internal/demoagent",   // the demo-agent command
		"sessionhub/internal/processtree", // the supervise command
		"sessionhub/internal/text",        // what errors and logs say of strangers
	},
	"sessionhub/internal/app": {
		"sessionhub/handlers", "sessionhub/hub", "sessionhub/hub/store", "sessionhub/hub/store/disk", "sessionhub/hub/store/mem", "sessionhub/hub/store/valkey", "sessionhub/internal/auth",
		"sessionhub/internal/config", "sessionhub/metrics", "sessionhub/protocol", "sessionhub/web", "sessionhub/worker", "sessionhub/worker/known", "sessionhub/worker/wslink", // it joins them
	},
	"sessionhub/docs": {}, // two files
	"sessionhub/handlers": {
		"sessionhub/docs",             // serves the references
		"sessionhub/internal/backoff", // between accepts that failed
		"sessionhub/handlers/wsconn",  // the bridge to fasthttp
		"sessionhub/hub",              // what it serves
		"sessionhub/internal/auth",    // who may
		"sessionhub/metrics", "sessionhub/protocol",
	},
	// The rooms of the hub. stream and fleet do not know each other, stores know their
	// port, and nobody knows the door.
	"sessionhub/hub/session": { // the rules: pure, no clock, no lock
		"sessionhub/internal/excerpt", "sessionhub/internal/mediatype", "sessionhub/internal/text", "sessionhub/protocol",
	},
	"sessionhub/hub/store/disk": {
		"sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/protocol",
		"sessionhub/hub/store/mem", // what ends with the process: slots, rates, leases, the queue, what is due
	},
	"sessionhub/hub/store":           {"sessionhub/hub/session", "sessionhub/protocol"}, // the port: what it keeps
	"sessionhub/hub/store/mem":       {"sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/protocol"},
	"sessionhub/hub/store/valkey":    {"sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/internal/backoff", "sessionhub/protocol"},
	"sessionhub/hub/store/storetest": {"sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/protocol"},
	"sessionhub/hub/engine":          {"sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/metrics", "sessionhub/protocol"},    // decides and stores
	"sessionhub/hub/compact":         {"sessionhub/hub/engine", "sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/protocol"}, // makes logs small
	"sessionhub/hub/transcript": { // the people's form: pure, no clock, no store
		"sessionhub/internal/excerpt", // changes as hunks
		"sessionhub/internal/text",    // how text of strangers is shown
		"sessionhub/protocol",         // the events
	},
	"sessionhub/hub/stream": {
		"sessionhub/hub/account", // judges the grants of open streams
		"sessionhub/hub/engine", "sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/metrics", "sessionhub/protocol",
	},
	"sessionhub/hub/feed": {"sessionhub/hub/engine", "sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/protocol"}, // lists of sessions
	"sessionhub/hub/fleet": {
		"sessionhub/hub/engine", "sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/metrics", "sessionhub/protocol",
		"sessionhub/internal/excerpt",   // cuts what a worker sends
		"sessionhub/internal/mediatype", // what an attachment's bytes are, for a worker that takes none
	},
	"sessionhub/hub/account": { // the rules of accounts: pure, no clock, no lock
		"sessionhub/hub/session", // the grants that an account judges
	},
	"sessionhub/hub": { // the door
		"sessionhub/hub/account", // what people do to their accounts
		"sessionhub/hub/compact", "sessionhub/hub/engine", "sessionhub/hub/feed", "sessionhub/hub/fleet", "sessionhub/hub/session", "sessionhub/hub/store", "sessionhub/hub/stream", "sessionhub/hub/transcript", "sessionhub/metrics", "sessionhub/protocol",
		"sessionhub/internal/mediatype", // what the bytes of an upload are
	},
	"sessionhub/worker":        {"sessionhub/internal/backoff", "sessionhub/internal/excerpt", "sessionhub/internal/mediatype", "sessionhub/internal/processtree", "sessionhub/internal/text", "sessionhub/protocol"}, // never the hub: it may be far away
	"sessionhub/worker/known":  {"sessionhub/protocol", "sessionhub/worker"},                                                                                                                                          // its providers
	"sessionhub/worker/wslink": {"sessionhub/protocol", "sessionhub/worker"},                                                                                                                                          // its errors
	"sessionhub/metrics":       {"sessionhub/protocol"},                                                                                                                                                               // label values
	"sessionhub/internal/auth": {
		"sessionhub/protocol", // names of headers and subprotocols
	},
	"sessionhub/internal/testkit/valkeytest":          {"sessionhub/internal/testkit/need"}, // where the server is
	"sessionhub/internal/testkit/scripted":            {"sessionhub/internal/testkit/need"}, // where Node.js is
	"sessionhub/internal/testkit/hubtest":             {"sessionhub/protocol"},              // speaks it from outside
	"sessionhub/internal/config":                      {},
	"sessionhub/internal/excerpt":                     {"sessionhub/internal/text", "sessionhub/protocol"},                                                                  // what it shortens
	"sessionhub/client":                               {"sessionhub/internal/backoff", "sessionhub/protocol"},                                                               // what others build on: nothing of the hub's inside
	"sessionhub/internal/testkit/soak":                {"sessionhub/client", "sessionhub/internal/scrape", "sessionhub/internal/testkit/faultproxy", "sessionhub/protocol"}, // breaks and judges from outside
	"sessionhub/internal/bench":                       {"sessionhub/client", "sessionhub/internal/scrape", "sessionhub/protocol"},                                           // measures from outside
	"sessionhub/internal/testkit/fakemodel/fakemodel": {"sessionhub/internal/testkit/fakemodel"},                                                                            // serves it
	"sessionhub/internal/chat":                        {"sessionhub/client", "sessionhub/internal/text", "sessionhub/protocol"},                                             // a person's end of the wire
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
		"sessionhub/hub":            {"net/http", "github.com/gofiber", "github.com/valyala", "github.com/coder/websocket", "github.com/valkey-io"},
		"sessionhub/hub/session":    {"context", "sync", "net/http", "github.com/", "log/"},
		"sessionhub/hub/account":    {"context", "sync", "net/http", "github.com/", "log/"},
		"sessionhub/hub/store":      {"net/http", "github.com/"},
		"sessionhub/hub/engine":     {"net/http", "github.com/"},
		"sessionhub/hub/stream":     {"net/http", "github.com/"},
		"sessionhub/hub/compact":    {"net/http", "github.com/"},
		"sessionhub/hub/feed":       {"net/http", "github.com/"},
		"sessionhub/hub/transcript": {"context", "sync", "net/http", "github.com/", "log/", "os"},
		"sessionhub/hub/fleet":      {"net/http", "github.com/"},
		"sessionhub/worker":         {"github.com/gofiber", "github.com/valyala", "github.com/coder/websocket", "sessionhub/hub"},
		"sessionhub/protocol":       {"github.com", "golang.org", "sessionhub/"},
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

// The engine alone stores states: what decides beside it would not be decided again
// when it loses a race, and would not be looked at when its node dies.
func TestOnlyTheEngineStoresStates(t *testing.T) {
	found := make(map[string]int)
	err := fs.WalkDir(os.DirFS("../.."), "hub", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "hub/store/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), "../../"+path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // store.Batch{State: ...}
				typ, ok := n.Type.(*ast.SelectorExpr)
				if !ok || typ.Sel.Name != "Batch" {
					break
				}
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); !ok || kv.Key.(*ast.Ident).Name == "State" {
						found[path]++
					}
				}
			case *ast.SelectorExpr: // the rules, and a session's birth
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "session" && (n.Sel.Name == "Step" || n.Sel.Name == "NewState") {
					found[path]++
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found["hub/engine/engine.go"] != 4 {
		t.Errorf("the engine stores states in %d places: the test does not see them", found["hub/engine/engine.go"])
	}
	delete(found, "hub/engine/engine.go")
	for path, n := range found {
		t.Errorf("%s decides or stores a state in %d places", path, n)
	}
}
