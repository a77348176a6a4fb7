package transcript

import (
	"bytes"
	"slices"
)

// Format is the form of a transcript.
type Format string

// The formats.
const (
	Markdown Format = "markdown"
	JSON     Format = "json"
)

// Formats lists them.
var Formats = []Format{Markdown, JSON}

// Known reports whether the format exists.
func (f Format) Known() bool { return slices.Contains(Formats, f) }

// MediaType is the media type of the format, for HTTP.
func (f Format) MediaType() string {
	if f == JSON {
		return "application/json"
	}
	return "text/markdown; charset=utf-8"
}

// Extension is the extension of a file in this format.
func (f Format) Extension() string {
	if f == JSON {
		return ".json"
	}
	return ".md"
}

// of makes a writer of the format; Markdown if the format is unknown.
func (f Format) of(out *bytes.Buffer) form {
	if f == JSON {
		return &jsonForm{out: out}
	}
	return &markdown{out: out}
}
