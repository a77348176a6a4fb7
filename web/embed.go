// Package web carries the built dashboard in the binary. It is built by
// `npm run build` in this folder; a clone in which that was never done still
// compiles, and then Dist has no index.html.
package web

import (
	"embed"
	"io/fs"
)

// The all: prefix takes in .keep, without which the pattern would match nothing
// in a clean clone and the build would fail.
//
//go:embed all:dist
var files embed.FS

// Dist returns the dashboard's files, with index.html at the root. The files
// under assets/ have their hash in their names and never change.
func Dist() fs.FS {
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		panic("web: dist is not embedded: " + err.Error()) // fs.Sub fails for an invalid path only
	}
	return dist
}

// HasDashboard reports whether this build holds the dashboard.
func HasDashboard() bool {
	_, err := fs.Stat(Dist(), "index.html")
	return err == nil
}
