package handlers

import (
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// contentSecurityPolicy lets the dashboard load its own files and talk to its own origin,
// and nothing else. So text of an agent cannot load or run anything. 'self' includes the
// WebSocket of the page's host (CSP 3, section 6.7.2.8), also behind a proxy with TLS.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// missingDashboard is the page of a binary that was built without Node.
const missingDashboard = `<!doctype html><html lang="en"><meta charset="utf-8"><title>sessionhub</title>
<h1>sessionhub is running</h1>
<p>The dashboard is not in this binary, since Node was missing when it was built. The API works: try <code>curl localhost:8080/api/providers</code>.</p>
<p>To have the dashboard, install Node 20 or newer and run <code>make build</code> again.</p>
</html>`

// dashboard makes a route for each built file. There is no other route, so an unknown path
// gets 404 and a wrong method 405.
func (s *Server) dashboard() error {
	routes := map[string]string{"/": "index.html"}
	err := fs.WalkDir(s.cfg.Dashboard, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(path.Base(name), ".") {
			routes["/"+name] = name
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the dashboard: %w", err)
	}
	for route, name := range routes {
		content, err := fs.ReadFile(s.cfg.Dashboard, name)
		if errors.Is(err, fs.ErrNotExist) && route == "/" {
			content = []byte(missingDashboard)
		} else if err != nil {
			return fmt.Errorf("read the dashboard: %w", err)
		}
		s.app.Get(route, func(c *fiber.Ctx) error { return sendFile(c, name, content) })
	}
	return nil
}

func sendFile(c *fiber.Ctx, name string, content []byte) error {
	c.Set(fiber.HeaderContentSecurityPolicy, contentSecurityPolicy)
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = fiber.MIMEOctetStream
	}
	c.Set(fiber.HeaderContentType, kind)
	if strings.HasPrefix(name, "assets/") { // their names hold a hash of what is in them
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	} else {
		c.Set(fiber.HeaderCacheControl, "no-cache")
	}
	return c.Send(content)
}
