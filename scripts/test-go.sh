#!/usr/bin/env bash
# Runs the Go tests and ends with a summary. Arguments go to `go test`.
# The whole output is kept in bin/test-go.log, and beside it what the processes of
# a failed soak said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p bin
log=bin/test-go.log
export SESSIONHUB_TEST_LOGS=$PWD/bin

# The files of the tests are in memory, where there is room for them and programs may
# run: their servers have every write on the disk before they answer, and a disk that
# is busy with something else stands still for seconds. No test judges a disk.
in_memory() {
	local free dir
	free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1) || return 1
	[ "$(stat -f -c %T /dev/shm)" = tmpfs ] && [ "$free" -ge 2000000 ] &&
		[ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -ge 6000000 ] || return 1
	dir=$(mktemp -d /dev/shm/hub.XXXXXX) || return 1
	chmod 1777 "$dir" # as /tmp is: some tests run a program as another user
	if ! { printf '#!/bin/sh\n' >"$dir/run" && chmod +x "$dir/run" && "$dir/run"; } 2>/dev/null; then
		rm -rf "$dir"
		return 1
	fi
	rm "$dir/run"
	printf '%s\n' "$dir"
}
if [ -z "${TMPDIR:-}" ] && dir=$(in_memory); then
	trap 'rm -rf "$dir"' EXIT
	export GOTMPDIR=${GOTMPDIR:-/tmp} # the tests' programs are larger than all their files
	export TMPDIR=$dir
fi

status=0
go test "$@" 2>&1 | tee "$log" || status=$?

passed=$(grep -c '^ok  *	' "$log" || true)
failed=$(grep -c '^FAIL	' "$log" || true)
printf '\n== go test: %s packages passed, %s failed\n' "$passed" "$failed" | tee -a "$log"
if [ "$status" != 0 ]; then
	# What went wrong, once more and in short: names, and the last of what each
	# test said. The log lines of the program (JSON) are in the whole output.
	awk '
		function flush() { for (i = (n > 25 ? n - 25 : 0); i < n; i++) print said[i]; n = 0 }
		/^[[:space:]]*--- FAIL: |^FAIL\t|^panic: |^fatal error: |^WARNING: DATA RACE/ { flush(); print; next }
		/^[[:space:]]+[A-Za-z_0-9]+\.go:[0-9]+: / { said[n++] = substr($0, 1, 500) }
		END { flush() }
	' "$log"
fi
exit "$status"
