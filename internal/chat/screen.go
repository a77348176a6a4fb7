package chat

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// screen draws rows that scroll and, below them, the live region. It knows where
// the cursor is only by what it drew itself, so nothing else may write to the
// terminal meanwhile. Owned by one goroutine.
type screen struct {
	out           io.Writer
	columns, rows int

	drawn  []string // the live region as it stands
	cursor int      // the row of it in which the cursor is
	place  [2]int   // row and column of the cursor, as they were drawn
	shown  bool     // the terminal shows it as it was drawn
}

// draw scrolls the new rows in above the live region and draws that again, in
// one write. The cursor goes to a place in the live region.
func (s *screen) draw(scrolled, live []string, row, column int) error {
	if most := max(1, s.rows-1); len(live) > most { // the end is what people work with
		row -= len(live) - most
		live = live[len(live)-most:]
	}
	cursor := [2]int{max(0, min(row, len(live)-1)), column}
	if len(scrolled) == 0 && s.shown && cursor == s.place && slices.Equal(live, s.drawn) {
		return nil // a terminal that is left in peace keeps what was selected in it
	}
	var b strings.Builder
	// Where it is known, the terminal shows all of it at once (mode 2026).
	b.WriteString("\x1b[?2026h\x1b[?25l")
	s.erase(&b)
	for _, r := range scrolled {
		b.WriteString(r + "\r\n")
	}
	// Without wrapping, a row that is wider than was thought is cut, and never
	// makes a second one that nobody counts.
	b.WriteString("\x1b[?7l" + strings.Join(live, "\r\n") + "\x1b[?7h")
	row = cursor[0]
	if up := len(live) - 1 - row; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	if column > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", min(column, s.columns-1))
	}
	b.WriteString("\x1b[?25h\x1b[?2026l")
	s.drawn, s.cursor, s.place, s.shown = live, row, cursor, true
	_, err := io.WriteString(s.out, b.String())
	return err
}

// erase goes to the beginning of the live region and clears all from there on.
func (s *screen) erase(b *strings.Builder) {
	if s.cursor > 0 {
		fmt.Fprintf(b, "\x1b[%dA", s.cursor)
	}
	b.WriteString("\r\x1b[J")
	s.drawn, s.cursor, s.shown = nil, 0, false
}

// resize takes the terminal's new size. A terminal that became narrower has
// broken the rows of the live region into more of them.
func (s *screen) resize(columns, rows int) {
	s.columns, s.rows = max(columns, 1), max(rows, 1)
	s.shown = false
	above := 0
	for _, r := range s.drawn[:min(s.cursor, len(s.drawn))] {
		above += max(1, (visible(r)+s.columns-1)/s.columns)
	}
	s.cursor = above
}

// clear leaves the live region empty.
func (s *screen) clear() error {
	var b strings.Builder
	s.erase(&b)
	_, err := io.WriteString(s.out, b.String())
	return err
}
