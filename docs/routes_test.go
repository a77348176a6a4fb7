package docs_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"sessionhub/docs"
	"sessionhub/handlers"
	"sessionhub/protocol"
)

// Every route of the server is documented, and the other way round.
func TestRoutesAreDocumented(t *testing.T) {
	server, err := handlers.New(handlers.Config{Dashboard: fstest.MapFS{}})
	if err != nil {
		t.Fatal(err)
	}
	var coded, documented, ids []string
	for _, r := range server.Routes() {
		coded = append(coded, r.Method+" "+r.Path)
	}
	paths := parse(t, docs.OpenAPI()).at(t, "paths")
	for _, path := range paths.keys() {
		for _, method := range paths.at(t, path).keys() {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
				ids = append(ids, fmt.Sprint(paths.at(t, path, method)["operationId"]))
			}
		}
	}
	same(t, "routes", documented, coded)
	same(t, "operation ids", ids, ids) // each once
}

// Every code stands at its status, and only there; each answer of a route is
// described at the status that it names.
func TestCodesHaveTheirStatus(t *testing.T) {
	doc := parse(t, docs.OpenAPI())
	responses := doc.at(t, "components", "responses")
	status := map[string]string{} // of a component
	documented := map[int][]string{}
	for _, name := range responses.keys() {
		schema := responses.at(t, name, "content", "application/problem+json", "schema")
		own := schema["allOf"].([]any)[1].(tree).at(t, "properties")
		n := own.at(t, "status")["const"].(int)
		status[name] = fmt.Sprint(n)
		documented[n] = append(documented[n], own.at(t, "code").texts("enum")...)
	}
	coded := map[int][]string{}
	for _, code := range readSource(t).consts["Code"] {
		n := handlers.StatusOf(protocol.Code(code))
		coded[n] = append(coded[n], code)
	}
	for n := range coded {
		same(t, fmt.Sprint("codes of ", n), documented[n], coded[n])
		delete(documented, n)
	}
	if len(documented) > 0 {
		t.Errorf("no code has the status of %v", documented)
	}
	paths := doc.at(t, "paths")
	for _, path := range paths.keys() {
		for _, method := range paths.at(t, path).keys() {
			if method == "parameters" {
				continue
			}
			answers := paths.at(t, path, method, "responses")
			for _, n := range answers.keys() {
				ref, ok := answers.at(t, n)["$ref"].(string)
				if ok && status[ref[strings.LastIndex(ref, "/")+1:]] != n {
					t.Errorf("%s %s: %s is described by %s", method, path, n, ref)
				}
			}
		}
	}
}
