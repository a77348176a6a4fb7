package valkey

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"sessionhub/hub/store"
)

// Options say where the server is and how the store uses it.
type Options struct {
	// URL names the server:
	//
	//	redis://user:password@host:6379/0         one server; valkey:// is the same
	//	rediss://host:6380                        the same over TLS (valkeys://)
	//	redis://host1:6379,host2:6379             a cluster: some of its nodes
	//	redis://host1:26379,host2:26379?master_set=NAME   Sentinels, and the name they know the primary by
	//
	// With Sentinels user and password are the primary's; theirs are the
	// parameters sentinel_username and sentinel_password. skip_verify=true takes
	// any certificate.
	URL string

	// Prefix begins every key and channel, so that several hubs can share a
	// server. It must not hold a brace. Empty: "sessionhub:".
	Prefix string

	Retention store.Retention

	// CallTimeout bounds every call of the store whose context has no earlier deadline. 0:
	// 2 s.
	CallTimeout time.Duration

	Log *slog.Logger

	// Failed is called for each call that got no answer, with the call's name: one of Ops.
	// It may be nil, and must not block.
	Failed func(op string)

	// Relayed is called for each announcement of events that arrives. Its argument is the
	// time since the events were stored, as far as the machines' clocks agree. It may be
	// nil, and must not block.
	Relayed func(time.Duration)

	// Up is called when the store begins (true) or ceases (false) to answer, one call at a
	// time. It may be nil, and must not block.
	Up func(up bool)
}

// Ops are the names of the calls that Options.Failed gets.
var Ops = []string{
	"create", "load", "append", "read", "compact", "commands", "note", "part", "list", "delete", "take_token",
	"arm", "take_due", "settle", "enqueue", "dequeue", "queued", "census",
	"renew_worker", "forget_worker", "worker_lease", "workers", "hold", "unhold", "held", "send_mail",
	"take_slot", "connections", "confirm", "load_account", "save_account",
}

const (
	defaultPrefix      = "sessionhub:"
	defaultCallTimeout = 2 * time.Second
)

// complete fills in the defaults.
func (o Options) complete() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return o, fmt.Errorf("prefix %q: a brace would move the keys to other slots", o.Prefix)
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.Retention.MaxEvents < 0 || o.Retention.MaxBytes < 0 {
		return o, fmt.Errorf("retention of %d events and %d bytes: a bound cannot be negative", o.Retention.MaxEvents, o.Retention.MaxBytes)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Failed == nil {
		o.Failed = func(string) {}
	}
	if o.Relayed == nil {
		o.Relayed = func(time.Duration) {}
	}
	if o.Up == nil {
		o.Up = func(bool) {}
	}
	return o, nil
}

// CheckURL returns an error if Options.URL is wrong. The error never repeats the URL, which
// may hold a password.
func CheckURL(raw string) error {
	_, err := clientOption(raw, defaultCallTimeout)
	return err
}

// connBuffer is the size of each buffer of a connection, in bytes. The client's own default
// is 0.5 MiB for each of two buffers. Larger answers only take more reads.
const connBuffer = 32 << 10

// How often the client asks for the primaries unprompted. It also asks when an answer tells
// it to. But a Sentinel sends its message once, which can be lost, and a demoted primary
// goes on answering.
const (
	sentinelRefresh = 2 * time.Second
	clusterRefresh  = 10 * time.Second
)

func clientOption(raw string, timeout time.Duration) (valkey.ClientOption, error) {
	first, err := splitHosts(raw)
	if err != nil {
		return valkey.ClientOption{}, err
	}
	opt, err := valkey.ParseURL(first)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // the error's text is the URL
			err = parse.Err
		}
		return opt, fmt.Errorf("valkey url: %w", err)
	}
	u, err := url.Parse(first)
	if err != nil {
		return opt, errors.New("valkey url: it cannot be parsed")
	}
	if opt.TLSConfig != nil {
		// Each server is checked by its own name, not by the first one's.
		opt.TLSConfig.ServerName = ""
	}
	if opt.Sentinel.MasterSet != "" {
		opt.Sentinel.TLSConfig = opt.TLSConfig
		opt.Sentinel.Username = u.Query().Get("sentinel_username")
		opt.Sentinel.Password = u.Query().Get("sentinel_password")
		opt.Sentinel.Dialer.Timeout = timeout
		opt.Sentinel.TopologyRefreshInterval = sentinelRefresh
	}
	if len(opt.InitAddress) > 1 && opt.SelectDB != 0 {
		return opt, errors.New("valkey url: a cluster has only the database 0")
	}
	opt.ClientName = "sessionhub"
	opt.DisableCache = true
	opt.ReadBufferEachConn, opt.WriteBufferEachConn = connBuffer, connBuffer
	opt.PipelineMultiplex = 1 // two connections for all calls
	opt.Dialer.Timeout = timeout
	// The client gives up a connection on which nothing is answered for so long.
	opt.ConnWriteTimeout = timeout
	opt.ClusterOption.ShardsRefreshInterval = clusterRefresh
	return opt, nil
}

// splitHosts turns hosts that are separated by commas into the parameters that the client's
// own form of a URL has for them.
func splitHosts(raw string) (out string, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !slices.Contains([]string{"redis", "rediss", "valkey", "valkeys"}, scheme) {
		return "", errors.New("valkey url: it must begin with redis://, rediss://, valkey:// or valkeys://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	// A slash alone names no database: most clients read it so.
	if tail == "/" || strings.HasPrefix(tail, "/?") {
		tail = tail[1:]
	}
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	for i, h := range hosts {
		if hosts[i], err = hostPort(h); err != nil {
			return "", err
		}
	}
	out = scheme + "://" + authority[:at] + hosts[0] + tail
	for _, h := range hosts[1:] {
		sep := "&"
		if !strings.Contains(tail, "?") {
			sep, tail = "?", "?"
		}
		out += sep + "addr=" + url.QueryEscape(h)
	}
	return out, nil
}

// hostPort checks a host with its port, and adds the usual port if there is none. The
// client would use its default for a text that it does not understand.
func hostPort(h string) (string, error) {
	host, port, err := net.SplitHostPort(h)
	if err != nil {
		if host, port, err = net.SplitHostPort(h + ":6379"); err != nil {
			return "", errors.New("valkey url: a host must be name, name:port or [address]:port")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("valkey url: a port must be a number from 1 to 65535")
	}
	if host == "" {
		return "", errors.New("valkey url: a host is missing")
	}
	return net.JoinHostPort(host, port), nil
}
