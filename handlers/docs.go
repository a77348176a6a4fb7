package handlers

import (
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sessionhub/docs"
	"sessionhub/protocol"
)

// mimeYAML is YAML's media type (RFC 9512).
const mimeYAML = "application/yaml"

// openAPI serves GET /api/openapi.yaml. It needs no credential: the document says nothing
// about this hub that its source does not say.
func (s *Server) openAPI(c *fiber.Ctx) error { return sendReference(c, docs.OpenAPI()) }

// asyncAPI serves GET /api/asyncapi.yaml. It refers to openapi.yaml by a relative URL.
func (s *Server) asyncAPI(c *fiber.Ctx) error { return sendReference(c, docs.AsyncAPI()) }

func sendReference(c *fiber.Ctx, text []byte) error {
	c.Set(fiber.HeaderContentType, mimeYAML)
	c.Set(fiber.HeaderCacheControl, "no-cache") // another version of the hub has another text
	return c.Send(text)
}

// Route is a method and a path as docs/openapi.yaml writes it: "/sessions/{id}".
type Route struct{ Method, Path string }

// Routes lists the routes that the server answers. It leaves out the dashboard's files, and
// HEAD, which each GET implies. Tests compare it with docs/openapi.yaml.
func (s *Server) Routes() []Route { return slices.Clone(s.documented) }

// registered lists the routes made so far.
func registered(app *fiber.App) []Route {
	var out []Route
	for _, r := range app.GetRoutes(true) {
		if r.Method == fiber.MethodHead {
			continue
		}
		parts := strings.Split(strings.TrimSuffix(r.Path, "/"), "/")
		for i, p := range parts {
			if name, ok := strings.CutPrefix(p, ":"); ok {
				parts[i] = "{" + name + "}"
			}
		}
		out = append(out, Route{Method: r.Method, Path: strings.Join(parts, "/")})
	}
	return out
}

// StatusOf returns the HTTP status for a code, or 0 for a code that is in no answer.
func StatusOf(code protocol.Code) int { return statusOf[code] }
