package excerpt

import "strings"

// Bounds of the work on a diff. A text that needs more becomes a replacement:
// all its lines between the common beginning and the common end.
const (
	maxDiffWork  = 1 << 25 // comparisons of lines: some 100 ms
	maxDiffLines = 1 << 18 // of both texts together, without the common ends
)

// The kinds of a run, as they stand in front of a line of a unified diff.
const (
	same    = ' '
	deleted = '-'
	added   = '+'
)

// run is a part of a diff: lines that both texts have, or only one of them.
type run struct {
	kind byte
	text string // whole lines with their line feeds
}

// runs returns the difference of two texts by lines. The runs that are not added
// are the old text, those that are not deleted the new one. work is what may
// still be done, and is counted down.
func runs(oldText, newText string, work *int) []run {
	if oldText == newText {
		return appendRun(nil, same, oldText)
	}
	head := commonHead(oldText, newText)
	tail := commonTail(oldText[head:], newText[head:])
	out := appendRun(nil, same, oldText[:head])
	out = middleRuns(out, oldText[head:len(oldText)-tail], newText[head:len(newText)-tail], work)
	return appendRun(out, same, oldText[len(oldText)-tail:])
}

// appendRun adds a run, or joins it to the last one.
func appendRun(out []run, kind byte, text string) []run {
	if text == "" {
		return out
	}
	return append(out, run{kind, text})
}

// commonHead is the length of the whole lines that both texts begin with.
func commonHead(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return strings.LastIndexByte(a[:n], '\n') + 1
}

// commonTail is the length of the whole lines that both texts end with.
func commonTail(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	if atLineStart(a, len(a)-n) && atLineStart(b, len(b)-n) {
		return n
	}
	next := strings.IndexByte(a[len(a)-n:], '\n')
	if next < 0 {
		return 0
	}
	return n - next - 1
}

func atLineStart(s string, at int) bool { return at == 0 || s[at-1] == '\n' }

func middleRuns(out []run, oldText, newText string, work *int) []run {
	replaced := func() []run {
		return appendRun(appendRun(out, deleted, oldText), added, newText)
	}
	if oldText == "" || newText == "" || countLines(oldText)+countLines(newText) > maxDiffLines {
		return replaced()
	}
	d := differ{work: work}
	var oldLines, newLines []string
	number := make(map[string]int32)
	d.a, oldLines = numbered(oldText, number)
	d.b, newLines = numbered(newText, number)
	d.forward = make([]int32, len(d.a)+len(d.b)+3)
	d.backward = make([]int32, len(d.forward))
	d.deleted, d.added = make([]bool, len(d.a)), make([]bool, len(d.b))
	d.compare(0, len(d.a), 0, len(d.b))

	// Runs are pieces of the texts, so lines cost nothing here but their count.
	oldAt, newAt := 0, 0
	for i, j := 0, 0; i < len(d.a) || j < len(d.b); {
		kind, begin, from := byte(same), oldAt, oldText
		switch {
		case i < len(d.a) && d.deleted[i]:
			for kind = deleted; i < len(d.a) && d.deleted[i]; i++ {
				oldAt += len(oldLines[i])
			}
		case j < len(d.b) && d.added[j]:
			kind, begin, from = added, newAt, newText
			for ; j < len(d.b) && d.added[j]; j++ {
				newAt += len(newLines[j])
			}
			out = appendRun(out, kind, from[begin:newAt])
			continue
		default:
			for ; i < len(d.a) && j < len(d.b) && !d.deleted[i] && !d.added[j]; i, j = i+1, j+1 {
				oldAt += len(oldLines[i])
				newAt += len(newLines[j])
			}
		}
		out = appendRun(out, kind, from[begin:oldAt])
	}
	return out
}

// countLines counts the lines of a text; the last one may lack its line feed.
func countLines(s string) int {
	n := strings.Count(s, "\n")
	if s != "" && s[len(s)-1] != '\n' {
		n++
	}
	return n
}

// numbered gives each different line a number, the same in both texts.
func numbered(text string, number map[string]int32) ([]int32, []string) {
	n := countLines(text)
	ids, lines := make([]int32, 0, n), make([]string, 0, n)
	for line := range strings.Lines(text) {
		id, ok := number[line]
		if !ok {
			id = int32(len(number))
			number[line] = id
		}
		ids, lines = append(ids, id), append(lines, line)
	}
	return ids, lines
}

// differ finds a shortest edit script in linear space (E. Myers, "An O(ND)
// Difference Algorithm and Its Variations", 1986, section 4b).
type differ struct {
	a, b           []int32
	deleted, added []bool // the result, by line of a and of b
	work           *int

	// The furthest x on each diagonal x-y, from either end. Index 0 is the
	// diagonal -len(b)-1.
	forward, backward []int32
}

func (d *differ) compare(aLow, aHigh, bLow, bHigh int) {
	for aLow < aHigh && bLow < bHigh && d.a[aLow] == d.b[bLow] {
		aLow, bLow = aLow+1, bLow+1
	}
	for aLow < aHigh && bLow < bHigh && d.a[aHigh-1] == d.b[bHigh-1] {
		aHigh, bHigh = aHigh-1, bHigh-1
	}
	if aLow < aHigh && bLow < bHigh {
		if x, y, ok := d.middle(aLow, aHigh, bLow, bHigh); ok {
			d.compare(aLow, x, bLow, y)
			d.compare(x, aHigh, y, bHigh)
			return
		}
	}
	for i := aLow; i < aHigh; i++ {
		d.deleted[i] = true
	}
	for j := bLow; j < bHigh; j++ {
		d.added[j] = true
	}
}

// middle finds a point on a shortest path; false if that would be too much work.
func (d *differ) middle(aLow, aHigh, bLow, bHigh int) (x, y int, ok bool) {
	const beyond = 1<<31 - 1
	zero := len(d.b) + 1
	least, most := aLow-bHigh, aHigh-bLow
	forward, backward := aLow-bLow, aHigh-bHigh
	odd := (forward-backward)%2 != 0
	fLow, fHigh, bkLow, bkHigh := forward, forward, backward, backward
	d.forward[zero+forward], d.backward[zero+backward] = int32(aLow), int32(aHigh)
	for *d.work > 0 {
		if fLow > least {
			fLow--
			d.forward[zero+fLow-1] = -1
		} else {
			fLow++
		}
		if fHigh < most {
			fHigh++
			d.forward[zero+fHigh+1] = -1
		} else {
			fHigh--
		}
		for k := fHigh; k >= fLow; k -= 2 {
			x := max(int(d.forward[zero+k-1])+1, int(d.forward[zero+k+1]))
			begin := x
			for x < aHigh && x-k < bHigh && d.a[x] == d.b[x-k] {
				x++
			}
			*d.work -= x - begin + 1
			d.forward[zero+k] = int32(x)
			if odd && bkLow <= k && k <= bkHigh && int(d.backward[zero+k]) <= x {
				return x, x - k, true
			}
		}
		if bkLow > least {
			bkLow--
			d.backward[zero+bkLow-1] = beyond
		} else {
			bkLow++
		}
		if bkHigh < most {
			bkHigh++
			d.backward[zero+bkHigh+1] = beyond
		} else {
			bkHigh--
		}
		for k := bkHigh; k >= bkLow; k -= 2 {
			x := min(int(d.backward[zero+k-1]), int(d.backward[zero+k+1])-1)
			begin := x
			for x > aLow && x-k > bLow && d.a[x-1] == d.b[x-k-1] {
				x--
			}
			*d.work -= begin - x + 1
			d.backward[zero+k] = int32(x)
			if !odd && fLow <= k && k <= fHigh && x <= int(d.forward[zero+k]) {
				return x, x - k, true
			}
		}
	}
	return 0, 0, false
}
