#!/usr/bin/env bash
# Runs a hub of three nodes on this machine, as plain processes: Valkey, the nodes,
# two workers, and HAProxy before the nodes if it can be had. Ctrl-C ends them in
# good order; a second one at once. What they say is in bin/cluster.
#
#   scripts/run-cluster.sh [WORKSPACE]     where agents work: ./workspace
#
# PORT (8080) is the proxy's; the nodes have the three behind it, their admin
# listeners PORT+10 and on, Valkey PORT+20.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly port=${PORT:-8080} workspace=${1:-workspace} dir=$PWD/bin/cluster bin=$PWD/bin/sessionhub
readonly valkey_port=$((port + 20))
declare -A name_of=() # by process id
declare -a order=()   # process ids, in the order of their start

say() { printf 'run-cluster: %s\n' "$*"; }

# launch NAME COMMAND... starts a process; what it says goes to NAME.log. It has a
# process group of its own, so that a Ctrl-C reaches this script alone.
launch() {
	local name=$1
	shift
	set -m
	"$@" >"$dir/$name.log" 2>&1 </dev/null &
	set +m
	name_of[$!]=$name
	order+=("$!")
}

# stop PATTERN ends the processes whose name matches, and waits for them.
# shellcheck disable=SC2317 # finish calls it
stop() {
	local pid
	for pid in "${order[@]}"; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ ${name_of[$pid]} != $1 ]] || kill -s TERM "$pid" 2>/dev/null || true # it may have ended
	done
	for pid in "${order[@]}"; do
		# shellcheck disable=SC2053
		[[ ${name_of[$pid]} == $1 ]] || continue
		# A trapped signal ends a wait before its process has ended.
		while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
	done
	return 0
}

# Those that need others end before them.
# shellcheck disable=SC2317 # a trap calls it
finish() {
	local status=$?
	trap - EXIT
	# The waits below end with what they wait for.
	trap 'kill -s KILL "${order[@]}" 2>/dev/null || true' INT TERM
	say "ending: turns may finish; Ctrl-C again ends them at once"
	stop 'worker*' # which give their sessions back to a node
	stop 'node*'
	stop proxy
	stop valkey
	exit "$status"
}

# until_up NAME URL waits for an answer.
until_up() {
	local pid=${order[-1]}
	for _ in {1..300}; do
		curl --silent --fail --output /dev/null --max-time 1 "$2" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	say "$1 does not answer at $2; it said:"
	tail -n 20 "$dir/$1.log"
	return 1
}

valkey=$(scripts/need.sh valkey)
mkdir -p "$dir/valkey" "$workspace"
export SESSIONHUB_TOKEN_SECRET SESSIONHUB_WORKER_KEY
# What a session token was signed with has to live as long as the sessions do.
[ -s "$dir/token-secret" ] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$dir/token-secret")
SESSIONHUB_TOKEN_SECRET=$(<"$dir/token-secret")
SESSIONHUB_WORKER_KEY=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

launch valkey "$valkey" --bind 127.0.0.1 --port "$valkey_port" --dir "$dir/valkey" --appendonly yes --appendfsync always --save ''
urls=()
for i in 1 2 3; do
	launch "node$i" "$bin" serve --listen "127.0.0.1:$((port + i))" --admin-listen "127.0.0.1:$((port + 9 + i))" \
		--worker none --valkey-url "redis://127.0.0.1:$valkey_port" --workspace-root "$workspace"
	until_up "node$i" "http://127.0.0.1:$((port + i))/readyz"
	urls+=("http://127.0.0.1:$((port + i))")
done

hub=${urls[0]}
if haproxy=$(scripts/need.sh haproxy); then
	{
		sed '/^	server /d' deploy/nodes.cfg
		for i in 1 2 3; do printf '\tserver node%s 127.0.0.1:%s\n' "$i" "$((port + i))"; done
	} >"$dir/nodes.cfg"
	LISTEN=127.0.0.1:$port launch proxy "$haproxy" -f deploy/haproxy.cfg -f "$dir/nodes.cfg"
	hub=http://127.0.0.1:$port
	until_up proxy "$hub/readyz"
fi
for i in 1 2; do
	# Without a proxy each worker has a node of its own, and is away while that is.
	url=$hub
	[ -n "$haproxy" ] || url=${urls[i]}
	launch "worker$i" "$bin" worker --discover-agents --hub "$url" --name "worker$i" --workspace cluster --workspace-root "$workspace"
done

if [ -n "$haproxy" ]; then
	say "the hub is at $hub"
else
	say "no haproxy here, so no one address for all"
fi
say "the nodes are at ${urls[*]}; every one serves every session"
say "what they say is in bin/cluster; Ctrl-C ends all"
status=0
ended=''
wait -n -p ended "${order[@]}" || status=$?
say "${name_of[$ended]} ended with $status by itself; it said:"
tail -n 20 "$dir/${name_of[$ended]}.log"
exit 1
