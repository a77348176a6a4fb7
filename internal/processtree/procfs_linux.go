package processtree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killTime bounds the hub's own killing below a frozen supervisor.
	killTime = 500 * time.Millisecond
	// sweepTime bounds the search for marked processes after a supervisor was lost.
	sweepTime = time.Second
	// killPause is the time between two looks at processes that were just killed.
	killPause = 2 * time.Millisecond
)

// incarnation tells a process from a later one with the same number.
type incarnation struct {
	pid   int
	start uint64 // clock ticks after boot: field 22 of /proc/<pid>/stat
}

// status is what signalling needs of /proc/<pid>/stat (proc_pid_stat(5)).
type status struct {
	state  byte
	parent int
	start  uint64
}

func (s status) dead() bool { return s.state == 'Z' || s.state == 'X' }

// signalDescendants sends sigs to everything below root, and returns how many of
// them were alive. With a known set each incarnation gets them only once over all
// calls. What forks or moves in the meantime may be missed, so callers repeat.
//
// Nothing outside of the tree is ever signalled, however fast process numbers are
// used again: a process is held by a pidfd before it is looked at, and the signal
// goes to what is held. Parents get it before their children are looked for, so
// that whatever forks in a loop is stopped first.
func signalDescendants(root int, known map[incarnation]bool, sigs ...syscall.Signal) (alive int) {
	list := childrenFromTasks
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d/children", root, root)); err != nil {
		byParent := parents() // a kernel without CONFIG_PROC_CHILDREN
		list = func(pid int) []int { return byParent[pid] }
	}
	seen := map[int]bool{root: true}
	next := []int{root}
	for len(next) > 0 {
		parent := next[0]
		next = next[1:]
		for _, pid := range list(parent) {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			st, ok := signalChild(pid, parent, root, known, sigs)
			if !ok {
				continue
			}
			if !st.dead() {
				alive++
			}
			next = append(next, pid)
		}
	}
	return alive
}

// signalChild is false for a process that is no longer a child of parent nor, as
// an orphan, of root. One that moved elsewhere, to a subreaper inside of the tree,
// is met there.
func signalChild(pid, parent, root int, known map[incarnation]bool, sigs []syscall.Signal) (status, bool) {
	h, err := hold(pid)
	if err != nil {
		return status{}, false // gone
	}
	defer h.release()
	st, err := readStatus(pid)
	if err != nil || st.parent != parent && st.parent != root {
		return status{}, false
	}
	id := incarnation{pid, st.start}
	if known[id] {
		return st, true
	}
	if known != nil {
		known[id] = true
	}
	for _, sig := range sigs {
		h.signal(sig) // what cannot be signalled is still alive for the caller
	}
	return st, true
}

// childrenFromTasks reads the children of each thread: the kernel files a child
// under the thread that forked it. It looks at this tree only, which is what lets
// killing keep up with a tree that forks while it is killed.
func childrenFromTasks(pid int) []int {
	var pids []int
	for _, tid := range numbersIn(fmt.Sprintf("/proc/%d/task", pid)) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, tid))
		if err != nil {
			continue // the thread is gone; its children were moved to another
		}
		for _, field := range bytes.Fields(data) {
			if n, err := strconv.Atoi(string(field)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// parents reads the whole process table.
func parents() map[int][]int {
	byParent := make(map[int][]int)
	for _, pid := range allPIDs() {
		if st, err := readStatus(pid); err == nil {
			byParent[st.parent] = append(byParent[st.parent], pid)
		}
	}
	return byParent
}

func allPIDs() []int { return numbersIn("/proc") }

// numbersIn lists the entries of a directory that are numbers.
func numbersIn(name string) []int {
	dir, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var numbers []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func readStatus(pid int) (status, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	return parseStatus(data)
}

// parseStatus skips the name, which is in parentheses and may hold any character,
// parentheses and spaces too, by looking for the last one.
func parseStatus(data []byte) (status, error) {
	_, rest, ok := bytesCutLast(data, ") ")
	f := bytes.Fields(rest)
	if !ok || len(f) < 20 {
		return status{}, fmt.Errorf("process status has %d fields", len(f))
	}
	parent, err := strconv.Atoi(string(f[1]))
	if err != nil {
		return status{}, fmt.Errorf("parent process id: %w", err)
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	if err != nil {
		return status{}, fmt.Errorf("process start time: %w", err)
	}
	return status{state: f[0][0], parent: parent, start: start}, nil
}

func bytesCutLast(data []byte, sep string) (before, after []byte, ok bool) {
	i := bytes.LastIndex(data, []byte(sep))
	if i < 0 {
		return data, nil, false
	}
	return data[:i], data[i+len(sep):], true
}

// held is a process that can be signalled without a race: while it is held, its
// number may go to another process, but the signal does not.
type held struct {
	pid, fd int // fd is -1 on a kernel before 5.3, which leaves the number alone
}

func hold(pid int) (held, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ENOSYS) {
		return held{pid, -1}, nil
	}
	return held{pid, fd}, err
}

func (h held) signal(sig syscall.Signal) error {
	if h.fd < 0 {
		return syscall.Kill(h.pid, sig)
	}
	return unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

func (h held) release() {
	if h.fd >= 0 {
		unix.Close(h.fd)
	}
}

// sweep kills every process that carries the mark, until none is left. It is for
// a tree that lost its supervisor, whose members have been given to other parents.
func sweep(mark string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for clean := 0; clean < 2; {
		left := killMarked(mark)
		if left == 0 {
			clean++ // one that was just forking could be missing from the first look
		} else {
			clean = 0
			if time.Now().After(deadline) {
				return fmt.Errorf("kill what a lost supervisor left: %d processes still run", left)
			}
		}
		time.Sleep(killPause)
	}
	return nil
}

// killMarked sends SIGKILL to all marked processes and returns how many it found.
func killMarked(mark string) (found int) {
	entry := append([]byte(mark), 0)
	for _, pid := range allPIDs() {
		h, err := hold(pid)
		if err != nil {
			continue
		}
		// Unreadable is another user's; empty is a kernel thread or a zombie.
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && (bytes.HasPrefix(env, entry) || bytes.Contains(env, append([]byte{0}, entry...))) {
			found++
			h.signal(syscall.SIGKILL)
		}
		h.release()
	}
	return found
}
