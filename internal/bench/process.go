package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"sessionhub/internal/scrape"
)

// ticksPerSecond is USER_HZ, in which /proc counts CPU time: 100 on every
// Linux that Go runs on.
const ticksPerSecond = 100

// cpuTime is what a process has used so far, user and kernel, to 10 ms
// (proc(5), /proc/pid/stat, fields 14 and 15).
func cpuTime(pid int) (user, system time.Duration, err error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read CPU time: %w", err)
	}
	// The name in field 2 may hold spaces and parentheses.
	_, rest, ok := strings.Cut(string(raw[max(0, strings.LastIndexByte(string(raw), ')')):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, 0, fmt.Errorf("read CPU time: /proc/%d/stat has another form", pid)
	}
	ticks := func(s string) time.Duration {
		n, _ := strconv.ParseInt(s, 10, 64)
		return time.Duration(n) * time.Second / ticksPerSecond
	}
	return ticks(fields[11]), ticks(fields[12]), nil
}

// rss is the resident memory of a process in bytes (proc(5), /proc/pid/statm).
func rss(pid int) (int64, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read resident memory: /proc/%d/statm has another form", pid)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// usage is what the hub uses at a moment. Zero where it is not known.
type usage struct {
	user, system time.Duration
	rss          int64
	metrics      scrape.Series
}

func (u usage) cpu() time.Duration { return u.user + u.system }

// The gauges of interest, from Go's own collector.
const (
	gaugeGoroutines = "go_goroutines"
	gaugeHeap       = "go_memstats_heap_alloc_bytes"
	gaugeStack      = "go_memstats_stack_inuse_bytes"
)

// admin reads a hub's admin listener.
type admin struct {
	url    string // empty: there is none
	client *http.Client
}

func (a admin) get(ctx context.Context, path string, each func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the admin listener: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the admin listener: %s: %s", path, resp.Status)
	}
	return each(resp.Body)
}

// collect has the hub collect its garbage.
func (a admin) collect(ctx context.Context) error {
	return a.get(ctx, "/debug/pprof/heap?gc=1", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// save writes a profile to a file.
func (a admin) save(ctx context.Context, path, file string) error {
	return a.get(ctx, path, func(r io.Reader) error {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, r); err != nil {
			_ = f.Close()
			return err
		}
		return f.Close()
	})
}

// metrics reads all series.
func (a admin) metrics(ctx context.Context) (series scrape.Series, err error) {
	err = a.get(ctx, "/metrics", func(r io.Reader) error {
		series, err = scrape.Read(r)
		return err
	})
	return series, err
}
