package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sessionhub/docs"
)

// transcriptSchemas gives each struct of a transcript its schema.
var transcriptSchemas = map[string]string{
	"Session": "TranscriptSession", "message": "TranscriptMessage", "tool": "TranscriptTool", "plan": "TranscriptPlan",
	"decision": "TranscriptDecision", "elicitation": "TranscriptQuestion", "completion": "TranscriptCompletion", "unfinished": "TranscriptUnfinished", "gap": "TranscriptGap",
	"notice": "TranscriptNotice", "closed": "TranscriptClosed", "block": "TranscriptBlock",
}

// What transcripts really are, as the golden files have them, is what the document
// describes.
func TestTranscriptsAreValid(t *testing.T) {
	v := newValidator(t)
	names, err := filepath.Glob("../hub/transcript/testdata/*.json")
	if err != nil || len(names) < 4 {
		t.Fatalf("%d golden transcripts, %v", len(names), err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.check("openapi.yaml#/components/schemas/Transcript", raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var body struct{ Entries []json.RawMessage }
		if err := json.Unmarshal(raw, &body); err != nil || body.Entries == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every field of an entry is a property of its schema, and the other way round.
func TestTranscriptFieldsAreDocumented(t *testing.T) {
	all := parse(t, docs.OpenAPI()).at(t, "components", "schemas")
	seen := 0
	for _, name := range []string{"entry.go", "block.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), "../hub/transcript/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || transcriptSchemas[spec.Name.Name] == "" {
				return true
			}
			seen++
			var fields, required []string
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
				field, options, _ := strings.Cut(tag, ",")
				if fields = append(fields, field); options == "" {
					required = append(required, field)
				}
			}
			schema := all.at(t, transcriptSchemas[spec.Name.Name])
			same(t, spec.Name.Name, schema.at(t, "properties").keys(), fields)
			same(t, spec.Name.Name+", required", schema.texts("required"), required)
			return true
		})
	}
	if seen != len(transcriptSchemas) {
		t.Errorf("%d structs of %d", seen, len(transcriptSchemas))
	}
}
