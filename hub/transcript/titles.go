package transcript

// titles are the titles of tools that were written, for changes that come later. A tool of
// a turn can go on in the background, so those of the last turn are kept too. The zero
// titles are ready.
type titles struct {
	turn, before, background map[string]string // by id; each at most maxTitles
}

// of finds the title of a tool. ok says that an earlier entry has its first part.
func (t *titles) of(messageID, id string) (title string, ok bool) {
	if messageID != "" {
		title, ok = t.turn[id]
		return title, ok
	}
	for _, known := range []map[string]string{t.background, t.turn, t.before} {
		if title, ok = known[id]; ok {
			return title, true
		}
	}
	return "", false
}

// keep keeps the title of a tool.
func (t *titles) keep(messageID, id, title string) {
	all := &t.turn
	if messageID == "" {
		all = &t.background
	}
	if *all == nil || len(*all) >= maxTitles {
		*all = make(map[string]string)
	}
	(*all)[id] = title
}

// leave ends a turn.
func (t *titles) leave() { t.turn, t.before = nil, t.turn }
