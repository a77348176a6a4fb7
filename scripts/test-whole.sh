#!/usr/bin/env bash
# Runs without the race detector the tests that it leaves out, or that do a part of their
# work under it: those of the files that name judge.Raced or judge.OneGoroutine.
# Arguments go to `go test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -t files < <(scripts/sources.sh '*_test.go' | xargs -0 grep -lE 'judge\.(Raced|OneGoroutine)\b')
[ ${#files[@]} -gt 0 ] || { echo "test-whole: no test names judge.Raced or judge.OneGoroutine" >&2; exit 1; }
names=$(sed -nE 's/^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\).*/\1/p' "${files[@]}" | sort -u | paste -sd '|')
[ -n "$names" ] || { echo "test-whole: no test was found in ${files[*]}" >&2; exit 1; }
mapfile -t packages < <(printf '%s\n' "${files[@]}" | xargs -n1 dirname | sort -u | sed 's|^|./|')
go test -run "^($names)\$" "$@" "${packages[@]}"
echo "== go test without the race detector, whole: passed"
