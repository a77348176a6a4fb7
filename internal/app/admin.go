package app

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sessionhub/internal/auth"
)

// newAdmin makes the operators' server: metrics, health and profiles. It has no
// authentication: it listens on loopback unless told otherwise, and guard keeps the
// pages out that a person visits.
func newAdmin(reg *prometheus.Registry, ready func() error, guard *adminGuard) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET "+readyPath, func(w http.ResponseWriter, r *http.Request) {
		err := ready()
		switch {
		case err == nil:
			fmt.Fprintln(w, "ready")
		case guard.refusal(r) != "": // the reason names the operator's servers
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		default:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &http.Server{Handler: guard.wrap(mux), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
}

// The paths that probes ask for, under whatever name they know the machine by.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// adminGuard decides which requests the admin listener answers. A browser on the
// operator's machine, or in the operator's network, reaches the listener: no page may
// use that, neither from another site nor by a name of its own that it points here
// (DNS rebinding). It may be used concurrently.
type adminGuard struct {
	hosts    auth.Hosts // --admin-hosts
	loopback bool       // only this machine reaches the listener
	log      *slog.Logger
	told     atomic.Int64 // when the log last told of a refusal, in unix seconds
}

func newAdminGuard(l net.Listener, hosts auth.Hosts, log *slog.Logger) *adminGuard {
	addr, ok := l.Addr().(*net.TCPAddr)
	return &adminGuard{hosts: hosts, loopback: ok && addr.IP.IsLoopback(), log: log}
}

// refusal says why a request is refused; empty: it is not.
func (g *adminGuard) refusal(r *http.Request) string {
	named := auth.IsLoopbackHost(r.Host) || g.hosts.Check(r.Host) || !g.loopback && auth.IsAddressHost(r.Host)
	switch {
	case !named && g.loopback:
		return "the Host is not this machine: use localhost, or name it in --admin-hosts"
	case !named:
		return "the Host is neither an IP address nor among --admin-hosts"
	case !(auth.Origins{}).Check(r.Header.Get("Origin"), r.Host):
		return "the Origin is another one: this listener is not for web pages"
	case r.Header.Get("Sec-Fetch-Site") == auth.CrossSite:
		return "the request comes from a page of another site"
	}
	return ""
}

// refusalsTold is how often the log tells of a refusal: a scraper comes again and
// again.
const refusalsTold = time.Minute

func (g *adminGuard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe := r.URL.Path == healthPath || r.URL.Path == readyPath
		why := g.refusal(r)
		if why == "" || probe {
			next.ServeHTTP(w, r)
			return
		}
		now, told := time.Now().Unix(), g.told.Load()
		if now-told >= int64(refusalsTold/time.Second) && g.told.CompareAndSwap(told, now) {
			g.log.Warn("a request to --admin-listen was refused", "reason", why, "host", r.Host, "remote", r.RemoteAddr)
		}
		http.Error(w, why, http.StatusForbidden)
	})
}
