package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valkey-io/valkey-go"
)

// slowMicros is what no command may take: while one runs, every session waits.
const slowMicros = 5_000

// stallMillis is what Valkey itself calls a stall here, whatever it was busy with.
const stallMillis = 100

// valkeyServer is a Valkey that is started for a run, with files of its own and
// the persistence that sessions need. Its methods are for one goroutine.
type valkeyServer struct {
	process *exec.Cmd
	dir     string
	addr    string
	client  valkey.Client
}

// startValkey starts the program and waits until it answers, or until ctx ends.
// close must be called unless it fails.
func startValkey(ctx context.Context, program string) (_ *valkeyServer, err error) {
	v := &valkeyServer{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start %s: %w", program, err), v.close())
		}
	}()
	if v.dir, err = os.MkdirTemp("", "sessionhub-bench-"); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v.addr = free.Addr().String()
	_ = free.Close()
	_, port, _ := net.SplitHostPort(v.addr)
	v.process = exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--dir", v.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--logfile", "server.log",
		"--slowlog-log-slower-than", strconv.Itoa(slowMicros), "--slowlog-max-len", "1024",
		"--latency-monitor-threshold", strconv.Itoa(stallMillis))
	// A terminal's Ctrl-C is not for it: what needs it ends first.
	v.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.process.Start(); err != nil {
		v.process = nil
		return nil, err
	}
	for until := time.Now().Add(startTimeout); ; {
		v.client, err = valkey.NewClient(valkey.ClientOption{InitAddress: []string{v.addr}, DisableCache: true, ForceSingleClient: true})
		if err == nil {
			return v, nil
		}
		if time.Now().After(until) {
			return nil, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// close ends the server and forgets its files.
func (v *valkeyServer) close() error {
	var err error
	if v.client != nil {
		v.client.Close()
	}
	if v.process != nil {
		_ = v.process.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(stopTimeout, func() { _ = v.process.Process.Kill() })
		defer kill.Stop()
		if err = v.process.Wait(); err != nil {
			err = fmt.Errorf("the end of Valkey: %w", err)
		}
	}
	if v.dir != "" {
		err = errors.Join(err, os.RemoveAll(v.dir))
	}
	return err
}

// valkeyUsage is what the server uses at a moment.
type valkeyUsage struct {
	cpu  time.Duration
	rss  int64
	used int64 // bytes that it has handed out
	keys int64
}

func (v *valkeyServer) usage(ctx context.Context) (u valkeyUsage, err error) {
	user, system, err := cpuTime(v.process.Process.Pid)
	if err != nil {
		return u, err
	}
	u.cpu = user + system
	if u.rss, err = rss(v.process.Process.Pid); err != nil {
		return u, err
	}
	info, err := v.client.Do(ctx, v.client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return u, fmt.Errorf("ask Valkey for its memory: %w", err)
	}
	_, rest, _ := strings.Cut(info, "\r\nused_memory:")
	used, _, _ := strings.Cut(rest, "\r\n")
	if u.used, err = strconv.ParseInt(used, 10, 64); err != nil {
		return u, fmt.Errorf("ask Valkey for its memory: %w", err)
	}
	u.keys, err = v.client.Do(ctx, v.client.B().Dbsize().Build()).AsInt64()
	return u, err
}

// SlowCommands are those that took Valkey longer than 5 ms, by the clock: on a
// machine that has other things to do a command that is interrupted is among them.
type SlowCommands struct {
	Count       int     `json:"count"` // of the last 1,024
	WorstMillis float64 `json:"worstMillis"`
	Worst       string  `json:"worst,omitempty"` // its beginning
}

func (v *valkeyServer) slow(ctx context.Context) (SlowCommands, error) {
	var out SlowCommands
	entries, err := v.client.Do(ctx, v.client.B().SlowlogGet().Count(1024).Build()).ToArray()
	if err != nil {
		return out, fmt.Errorf("ask Valkey for slow commands: %w", err)
	}
	for _, e := range entries {
		// number, time, microseconds, the command's words, client's address, its name
		fields, err := e.ToArray()
		if err != nil || len(fields) < 4 {
			return out, errors.Join(errors.New("ask Valkey for slow commands: an entry has another form"), err)
		}
		took, err := fields[2].AsInt64()
		if err != nil {
			return out, fmt.Errorf("ask Valkey for slow commands: %w", err)
		}
		out.Count++
		if at := float64(took) / 1000; at > out.WorstMillis {
			words, _ := fields[3].AsStrSlice()
			out.WorstMillis, out.Worst = at, strings.Join(words[:min(4, len(words))], " ")
		}
	}
	return out, nil
}

// Stall is the worst time of one kind in which Valkey answered nobody: what it did
// (aof-fsync-always: it waited for the disk; fork: it began to rewrite its files).
type Stall struct {
	Event       string `json:"event"`
	WorstMillis int64  `json:"worstMillis"`
}

func (v *valkeyServer) stalls(ctx context.Context) ([]Stall, error) {
	events, err := v.client.Do(ctx, v.client.B().LatencyLatest().Build()).ToArray()
	if err != nil {
		return nil, fmt.Errorf("ask Valkey for stalls: %w", err)
	}
	var out []Stall
	for _, e := range events {
		// event, time, the last one's milliseconds, the worst one's
		fields, err := e.ToArray()
		if err != nil || len(fields) < 4 {
			return nil, errors.Join(errors.New("ask Valkey for stalls: an event has another form"), err)
		}
		name, _ := fields[0].ToString()
		worst, err := fields[3].AsInt64()
		if err != nil {
			return nil, fmt.Errorf("ask Valkey for stalls: %w", err)
		}
		out = append(out, Stall{name, worst})
	}
	return out, nil
}
