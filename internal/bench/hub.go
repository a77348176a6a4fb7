package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sessionhub/client"
)

// target is the hub under test.
type target struct {
	client *client.Client
	admin  admin
	pid    int // 0: unknown, and so are CPU and memory

	place   *place    // what is forgotten with it; nil: nothing is
	process *exec.Cmd // nil: it was there before
	stdin   io.Closer // the process ends when this does
	output  chan error
}

// Starter makes the command that runs a node for the benchmark. The node reads
// its settings from the environment that is given here, prints lines with
// "api URL" and "admin URL" when it is up, and ends when its stdin does.
type Starter func(ctx context.Context) *exec.Cmd

// startTimeout bounds the start of a node.
const startTimeout = 30 * time.Second

// newTarget is the hub of the options.
func newTarget(o Options) *target {
	transport := &http.Transport{MaxIdleConnsPerHost: o.Connecting, IdleConnTimeout: 10 * time.Second}
	return &target{
		client: &client.Client{BaseURL: o.Hub, APIKey: o.APIKey, HTTPClient: &http.Client{Transport: transport}},
		admin:  admin{url: o.Admin, client: &http.Client{Transport: transport}},
		pid:    o.PID,
	}
}

// open reaches the hub of the options, or starts one.
func open(ctx context.Context, o Options, start Starter) (*target, error) {
	t := newTarget(o)
	if o.Hub != "" {
		return t, nil
	}
	t.client.APIKey = rand.Text()
	var err error
	if t.place, err = newPlace(ctx, o); err != nil {
		return nil, err
	}
	if err := t.start(ctx, start, append(limits(t.client.APIKey), t.place.settings()...)); err != nil {
		_ = t.close()
		return nil, fmt.Errorf("start a hub: %w", err)
	}
	return t, nil
}

// start starts a node with these settings beside those of this process, and
// waits until it is up.
func (t *target) start(ctx context.Context, start Starter, settings []string) error {
	t.process = start(ctx)
	t.process.Env = append(os.Environ(), settings...)
	t.process.Stderr = os.Stderr
	// A terminal's Ctrl-C is for the benchmark alone, which then ends the hub.
	t.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := t.process.StdinPipe()
	if err != nil {
		return err
	}
	t.stdin = stdin
	stdout, err := t.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := t.process.Start(); err != nil {
		t.process = nil
		return err
	}
	t.pid = t.process.Process.Pid
	up := make(chan struct{})
	t.output = make(chan error, 1)
	go func() { t.output <- t.readOutput(stdout, up) }()
	select {
	case <-up:
		return nil
	case err := <-t.output:
		t.output <- err
		return fmt.Errorf("it ended before it was up (%w)", err)
	case <-time.After(startTimeout):
		return fmt.Errorf("it was not up after %s", startTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readOutput finds the URLs, closes up, and reads on so that the node never
// waits.
func (t *target) readOutput(stdout io.Reader, up chan<- struct{}) error {
	lines := bufio.NewScanner(stdout)
	isUp := false
	for lines.Scan() {
		name, url, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch name {
		case "api":
			t.client.BaseURL = url
		case "admin":
			t.admin.url = url
		}
		if !isUp && t.client.BaseURL != "" && t.admin.url != "" {
			isUp = true
			close(up)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// defaults are the settings of a node that has the limits it has by itself.
func defaults(key string) []string {
	return []string{
		"SESSIONHUB_LISTEN=127.0.0.1:0", "SESSIONHUB_ADMIN_LISTEN=127.0.0.1:0", "SESSIONHUB_WORKER=none", "SESSIONHUB_API_KEY=" + key,
		"SESSIONHUB_LOG_LEVEL=warn", "SESSIONHUB_DRAIN_TIMEOUT=1s",
	}
}

// limits are the settings under which a node lets the load in. Variables of
// settings that it does not have are ignored.
func limits(key string) []string {
	most := strconv.Itoa(1_000_000)
	set := map[string]string{
		"MAX_CONNECTIONS_PER_SESSION": most, "MAX_CONNECTIONS_PER_USER": most, "MAX_SESSIONS_PER_USER": most,
		"MAX_SUBSCRIPTIONS_PER_CONNECTION": most, "MAX_QUEUED_MESSAGES": "1000", "LOG_MAX_EVENTS": most, "LOG_MAX_BYTES": "4GiB",
		"RATE_MESSAGES": "1000000/s:1000000", "RATE_SESSIONS": "1000000/s:1000000",
	}
	env := defaults(key)
	for name, value := range set {
		env = append(env, "SESSIONHUB_"+name+"="+value)
	}
	return env
}

// stopTimeout is how long a node may take to end.
const stopTimeout = 20 * time.Second

// close ends a node that was started here, and forgets its place.
func (t *target) close() error {
	err := t.end()
	if t.place != nil {
		err = errors.Join(err, t.place.close())
	}
	return err
}

// end ends a node that was started here.
func (t *target) end() error {
	t.client.HTTPClient.CloseIdleConnections()
	if t.process == nil {
		return nil
	}
	_ = t.stdin.Close()
	timer := time.AfterFunc(stopTimeout, func() { _ = t.process.Process.Kill() })
	defer timer.Stop()
	<-t.output // all has been read
	if err := t.process.Wait(); err != nil {
		return fmt.Errorf("the hub's end: %w", err)
	}
	return nil
}

// kill ends a node that was started here as kill -9 does.
func (t *target) kill() {
	_ = t.process.Process.Kill()
	_ = t.end() // it says that the node was killed
}

// host is the host:port of the API.
func (t *target) host() string {
	u, err := url.Parse(t.client.BaseURL)
	if err != nil {
		return ""
	}
	return u.Host
}
