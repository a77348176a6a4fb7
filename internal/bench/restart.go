package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sessionhub/protocol"
)

// restart is a run of ModeRestart: a hub is filled with sessions and ended, and another
// process takes them over from a cold disk.
type restart struct {
	o        Options
	start    Starter
	settings []string
	place    *place
	target   *target
	sessions []*session
	progress func(string)
	report   RestartReport
}

// RunRestart measures how long after the start of a hub the history of its last session is
// read, when it has many and none of their text is in memory: once after kill -9, and once
// after an end in good order. With ErrLoss the report is whole.
func RunRestart(ctx context.Context, o Options, start Starter, progress func(string)) (_ RestartReport, err error) {
	if err := o.Check(); err != nil {
		return RestartReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	o.APIKey = rand.Text()
	m := &restart{o: o, start: start, progress: progress, report: RestartReport{Options: o, Host: thisHost()}}
	if m.place, err = newPlace(ctx, o); err != nil {
		return m.report, err
	}
	defer func() {
		if m.target != nil {
			err = errors.Join(err, m.target.end())
		}
		err = errors.Join(err, m.place.close())
	}()
	m.settings = append(limits(o.APIKey), m.place.settings()...)
	progress("starting")
	if err := m.begin(ctx); err != nil {
		return m.report, err
	}
	if err := m.fill(ctx); err != nil {
		return m.report, err
	}
	for _, how := range []string{"kill -9", "SIGTERM"} {
		if err := m.again(ctx, how); err != nil {
			return m.report, err
		}
	}
	if m.report.Loss.any() {
		return m.report, ErrLoss
	}
	return m.report, nil
}

func (m *restart) begin(ctx context.Context) error {
	m.target = newTarget(m.o)
	if err := m.target.start(ctx, m.start, m.settings); err != nil {
		return fmt.Errorf("start a hub: %w", err)
	}
	return nil
}

func (m *restart) fill(ctx context.Context) error {
	r := newRun(m.o, m.target, m.progress)
	err := r.whole(ctx)
	m.report.Loss.add(r.report.Loss)
	m.sessions = r.sessions
	if err == nil && r.report.Traffic != nil {
		m.report.FillSeconds = r.report.Traffic.Seconds
	}
	return err
}

// again ends the hub, forgets what the kernel keeps of its files, and starts it anew.
func (m *restart) again(ctx context.Context, how string) error {
	m.progress("after " + how)
	if how == "kill -9" {
		m.target.kill()
	} else if err := m.target.end(); err != nil {
		return err
	}
	m.target = nil
	r := Restart{After: how}
	var err error
	if r.Files, err = filesBytes(m.place.dir); err != nil {
		return err
	}
	if err := dropCache(m.place.dir); err != nil {
		return err
	}
	began := time.Now()
	if err := m.begin(ctx); err != nil {
		return err
	}
	r.UpMillis = ms(time.Since(began))
	last := m.sessions[len(m.sessions)-1]
	j := &joiner{ws: true}
	if err := j.join(ctx, m.target.host(), last.id, last.token); err != nil {
		return err
	}
	r.ReadMillis = ms(time.Since(began))
	r.Events = j.ledger.events.Load()
	outputs := 0
	err = j.events(func(raw []byte) error {
		r.LogBytes += int64(len(raw))
		n, err := parseNotice(raw)
		if string(n.kind) == string(protocol.EventOutput) {
			outputs += int(n.seq - n.first + 1)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.report.Loss.add(j.loss())
	if outputs != m.o.Events {
		m.report.Loss.add(Loss{Lost: uint64(max(m.o.Events-outputs, 1)), Reason: fmt.Sprintf("%d outputs of %d", outputs, m.o.Events)})
	}
	if r.DiskBytes, err = readBytesOf(m.target.pid); err != nil {
		return err
	}
	m.report.Restarts = append(m.report.Restarts, r)
	return nil
}

// dropCache has the kernel forget what it keeps of the files below a directory
// (posix_fadvise, POSIX_FADV_DONTNEED). What is not on the disk yet is written first, since
// it would stay.
func dropCache(dir string) error {
	return files(dir, func(path string, _ int64) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", path, err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("drop the cache of %s: %w", path, err)
		}
		return nil
	})
}

// readBytesOf is what a process has had read from the disk (proc(5), /proc/pid/io).
func readBytesOf(pid int) (int64, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		return 0, fmt.Errorf("read the bytes from the disk: %w", err)
	}
	_, rest, _ := strings.Cut(string(raw), "\nread_bytes: ")
	n, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(n, 10, 64)
}

// RestartReport is what a run of ModeRestart measured.
type RestartReport struct {
	Options     Options   `json:"options"`
	Host        Host      `json:"host"`
	FillSeconds float64   `json:"fillSeconds"`
	Restarts    []Restart `json:"restarts"`
	Loss        Loss      `json:"loss"`
}

// Restart is one start of the hub.
type Restart struct {
	After      string  `json:"after"` // how its predecessor ended
	Files      int64   `json:"files"` // bytes of all sessions' files then
	UpMillis   float64 `json:"upMillis"`
	ReadMillis float64 `json:"readMillis"` // from the start to the last session's caught_up
	Events     uint64  `json:"events"`     // of the last session
	LogBytes   int64   `json:"logBytes"`
	DiskBytes  int64   `json:"diskBytes"` // that the process has read from the disk by then
}

// Print writes the report for people.
func (r RestartReport) Print(w io.Writer) {
	o := r.Options
	fmt.Fprintf(w, "%s: %d sessions of %d events with %d bytes, filled in %.0f s, %d CPUs\n", o.Mode, o.Sessions, o.Events, o.Bytes, r.FillSeconds, r.Host.CPUs)
	for _, s := range r.Restarts {
		fmt.Fprintf(w, "  %-10s up after %.0f ms, the last session read after %.0f ms (%d events, %.1f MB); files %.0f MB, of them read %.1f MB\n",
			s.After, s.UpMillis, s.ReadMillis, s.Events, megabytes(s.LogBytes), megabytes(s.Files), megabytes(s.DiskBytes))
	}
	r.Loss.print(w)
}
