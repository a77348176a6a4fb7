// Package docs carries the two machine-readable references in the binary, so
// that a hub can tell what it speaks: HTTP in OpenAPI 3.1, the two streams in
// AsyncAPI 3. Tests hold both to the code.
package docs

import _ "embed"

var (
	//go:embed openapi.yaml
	openAPI []byte
	//go:embed asyncapi.yaml
	asyncAPI []byte
)

// OpenAPI returns the reference of the HTTP API. The caller must not change it.
func OpenAPI() []byte { return openAPI }

// AsyncAPI returns the reference of the WebSocket and the event stream; its
// schemas point into openapi.yaml, which must lie beside it. The caller must
// not change it.
func AsyncAPI() []byte { return asyncAPI }
