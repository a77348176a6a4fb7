#!/usr/bin/env bash
# Runs the Go tests and ends with a summary. Arguments go to `go test`.
# The whole output is kept in bin/test-go.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p bin
log=bin/test-go.log

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
