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
	grep -E '^(FAIL	|[[:space:]]*--- FAIL: |panic: |WARNING: DATA RACE)' "$log" || true
fi
exit "$status"
