#!/usr/bin/env bash
# Fails when `go mod tidy` would change go.mod or go.sum.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
for attempt in 1 2 3; do
	status=0
	changes=$(go mod tidy -diff 2>"$errors") || status=$?
	[ "$status" = 0 ] && exit 0
	if [ -n "$changes" ]; then
		printf 'check: go.mod or go.sum is not tidy; run: go mod tidy\n%s\n' "$changes" >&2
		exit 1
	fi
	[ "$attempt" = 3 ] || sleep 2
done
# No answer: tidy looks at the tests of dependencies, too, whose modules a build
# does not need, and they could not be had. What a build needs and lacks fails
# the build; which modules are direct is held by a test (docs/modules_test.go).
printf 'check: note: go.mod was not compared with go mod tidy, which failed:\n%s\n' "$(tail -3 "$errors")" >&2
