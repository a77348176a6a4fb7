package excerpt

import (
	"math"
	"strings"

	"sessionhub/protocol"
)

// contextLines is how many unchanged lines stand around a change.
const contextLines = 3

// noNewline follows the last line of a text that does not end with a line feed,
// as in every unified diff (POSIX, diff -u).
const noNewline = `\ No newline at end of file`

// Bounds of what is kept when the hunks do not fit.
const (
	maxContextLine = 4 << 10 // a longer unchanged line is no context
	leastRun       = 256     // a run is cut to no less: then runs in the middle are left out
)

// piece is lines of one run that stand in the hunks. The line numbers count from 0.
type piece struct {
	kind             byte
	oldLine, newLine int
	lines            []string
}

// hunksOf makes hunks of a diff that take about limit bytes of JSON. cut says
// that changed lines are missing: unchanged ones are no loss.
func hunksOf(all []run, limit int) (hunks []protocol.Hunk, cut bool) {
	most, drop := keep(all, limit)
	oldLine, newLine := 0, 0
	var last *piece
	for i, r := range all {
		n := countLines(r.text)
		var pieces []piece
		switch {
		case r.kind == same:
			pieces = contextOf(r.text, n, i > 0, i < len(all)-1)
		case i >= drop[0] && i < drop[1]:
			cut = true
		default:
			var short bool
			pieces, short = ends(r, n, most)
			cut = cut || short
		}
		for _, p := range pieces {
			p.kind, p.oldLine, p.newLine = r.kind, oldLine+p.oldLine, newLine+p.newLine
			if r.kind == added {
				p.oldLine = oldLine
			}
			if r.kind == deleted {
				p.newLine = newLine
			}
			if last == nil || p.oldLine != last.oldLine+last.old() || p.newLine != last.newLine+last.new() {
				hunks = append(hunks, protocol.Hunk{OldStart: p.oldLine, NewStart: p.newLine})
			}
			hunks[len(hunks)-1] = grown(hunks[len(hunks)-1], p)
			last = &p
		}
		if r.kind != added {
			oldLine += n
		}
		if r.kind != deleted {
			newLine += n
		}
	}
	for i := range hunks {
		// Lines count from 1; a hunk without lines of a text names the one before it.
		if hunks[i].OldLines > 0 {
			hunks[i].OldStart++
		}
		if hunks[i].NewLines > 0 {
			hunks[i].NewStart++
		}
	}
	return hunks, cut
}

func (p *piece) old() int {
	if p.kind == added {
		return 0
	}
	return len(p.lines)
}

func (p *piece) new() int {
	if p.kind == deleted {
		return 0
	}
	return len(p.lines)
}

// grown is a hunk with a piece more.
func grown(h protocol.Hunk, p piece) protocol.Hunk {
	for _, line := range p.lines {
		text, ended := strings.CutSuffix(line, "\n")
		h.Lines = append(h.Lines, string(p.kind)+text)
		if !ended {
			h.Lines = append(h.Lines, noNewline)
		}
	}
	h.OldLines += p.old()
	h.NewLines += p.new()
	return h
}

// keep decides what of the changed runs stays in limit bytes: most is the length
// that longer ones are cut to, and the runs from drop[0] to drop[1] are left out.
func keep(all []run, limit int) (most int, drop [2]int) {
	sizes := make([]int, 0, len(all))
	for _, r := range all {
		if r.kind != same {
			sizes = append(sizes, sizeOf(r))
		}
		limit -= 120 + 2*contextLines*8 // around a change: the hunk's numbers and its context
	}
	if most = level(sizes, limit); most >= leastRun {
		return most, drop
	}
	// Too many: those at both ends stay.
	low, high, left := 0, len(all), max(0, limit+len(all)*(120+2*contextLines*8))
	for low < high {
		a, b := &all[low], &all[high-1]
		cost := min(sizeOf(*a), leastRun) + min(sizeOf(*b), leastRun) + 2*200
		if left -= cost; left < 0 {
			break
		}
		low, high = low+1, high-1
	}
	return leastRun, [2]int{low, max(low, high)}
}

// sizeOf is about what a run takes as JSON.
func sizeOf(r run) int { return encodedLen(r.text) + 4*countLines(r.text) }

// contextOf gives the lines of an unchanged run of n lines that stand around
// changes: behind one and in front of one.
func contextOf(text string, n int, behind, before bool) []piece {
	head, tail := 0, 0
	if behind {
		head = min(contextLines, n)
	}
	if before {
		tail = min(contextLines, n-head)
	}
	first := firstLines(text, head)
	for i, line := range first { // those next to the change
		if len(line) > maxContextLine {
			first = first[:i]
			break
		}
	}
	last := lastLines(text, tail)
	for i := len(last) - 1; i >= 0; i-- {
		if len(last[i]) > maxContextLine {
			last = last[i+1:]
			break
		}
	}
	return both(first, last, n)
}

// both makes pieces of the first and the last lines of a run of n.
func both(first, last []string, n int) (out []piece) {
	if len(first) > 0 {
		out = append(out, piece{lines: first})
	}
	if len(last) > 0 {
		out = append(out, piece{oldLine: n - len(last), newLine: n - len(last), lines: last})
	}
	return out
}

// ends gives a changed run of n lines: whole if it takes at most most bytes, else
// its first and its last lines, and true.
func ends(r run, n, most int) ([]piece, bool) {
	if sizeOf(r) <= most {
		return both(firstLines(r.text, n), nil, n), false
	}
	if n == 1 {
		return both([]string{cutLine(r.text, most)}, nil, n), true
	}
	var first, last []string
	rest := r.text
	for left := most / 2; len(first) < n-1; {
		line := firstLines(rest, 1)[0]
		size := encodedLen(line) + 4
		if size > left && len(first) > 0 {
			break
		}
		first = append(first, cutLine(line, left))
		if left -= size; left <= 0 {
			rest = rest[len(line):]
			break
		}
		rest = rest[len(line):]
	}
	for left := most / 2; len(first)+len(last) < n; {
		line := lastLines(rest, 1)[0]
		size := encodedLen(line) + 4
		if size > left && len(last) > 0 {
			break
		}
		last = append(last, cutLine(line, left))
		rest = rest[:len(rest)-len(line)]
		if left -= size; left <= 0 {
			break
		}
	}
	for i, j := 0, len(last)-1; i < j; i, j = i+1, j-1 {
		last[i], last[j] = last[j], last[i]
	}
	return both(first, last, n), true
}

// cutLine shortens a line that is too long by itself.
func cutLine(line string, most int) string {
	text, ended := strings.CutSuffix(line, "\n")
	short, _ := Text(text, most, false)
	if ended {
		short += "\n"
	}
	return short
}

func firstLines(s string, n int) (out []string) {
	for line := range strings.Lines(s) {
		if len(out) == n {
			break
		}
		out = append(out, line)
	}
	return out
}

func lastLines(s string, n int) []string {
	begin := len(s)
	for range n {
		if begin == 0 {
			break
		}
		begin = strings.LastIndexByte(s[:begin-1], '\n') + 1
	}
	return firstLines(s[begin:], n)
}

// Hunks is the difference of two texts as hunks. work bounds the comparisons of lines:
// texts that need more become a replacement.
func Hunks(oldText, newText string, work int) []protocol.Hunk {
	hunks, _ := hunksOf(runs(oldText, newText, &work), math.MaxInt)
	return hunks
}
