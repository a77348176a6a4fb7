package processtree

import "slices"

// MaxRunning is the most processes that a list names.
const MaxRunning = 64

// Running is a process below an agent at one moment. It has no arguments: they may
// hold secrets.
type Running struct {
	PID  int    `json:"pid"`
	Name string `json:"name"` // of its program, without the directory

	Start uint64 `json:"start,omitempty"` // tells it from a later one with the same number
}

// listed keeps the first MaxRunning by number.
func listed(all []Running) []Running {
	slices.SortFunc(all, func(a, b Running) int { return a.PID - b.PID })
	return all[:min(len(all), MaxRunning)]
}

// Left are the processes that the agent had started and that still ran when its end
// began, at most 64, but for those of except: they were ended with it. It is
// complete after Done, and empty on systems where it is not known.
func (p *Process) Left(except Below) []Running {
	p.leftMu.Lock()
	defer p.leftMu.Unlock()
	var left []Running
	for _, r := range p.left {
		if !except.has(r) {
			left = append(left, r)
		}
	}
	return left
}

// noteLeft keeps the first list: a later one lacks what has ended since.
func (p *Process) noteLeft(left []Running) {
	p.leftMu.Lock()
	defer p.leftMu.Unlock()
	if p.left == nil {
		p.left = append([]Running{}, left...)
	}
}
