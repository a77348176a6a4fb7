package chat

import (
	"github.com/mattn/go-runewidth"

	"sessionhub/internal/text"
)

// oneLine is a text of a stranger on one line, clipped to so many columns.
func oneLine(s string, columns int) string { return truncate(text.Line(s), columns) }

// truncate clips a line that is harmless already.
func truncate(line string, columns int) string { return runewidth.Truncate(line, columns, "…") }
