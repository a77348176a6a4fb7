#!/usr/bin/env bash
# Runs the browser tests, BROWSER_JOBS (2) files at once: a page mostly waits. A run
# that judges time (SESSIONHUB_TEST_LOAD) has one. All of them run, also after a failure,
# and each runs once: a test that is right only now and then is a failure.
#
#   scripts/test-browser.sh [NAME...]   only e2e/NAME.test.mjs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

# Each says what it has to say in one go, when it is done: also when a failed test has left
# something that would keep the process.
if [ "${1:-}" = --one ]; then
	status=0
	said=$(node --import tsx --test --test-concurrency=1 --test-force-exit "$2" 2>&1) || status=1
	printf '%s\n' "$said"
	[ "$status" = 0 ] || printf '== failed: %s\n' "$2" >&2
	exit "$status"
fi

files=(e2e/*.test.mjs)
[ $# = 0 ] || { files=("${@/#/e2e/}"); files=("${files[@]/%/.test.mjs}"); }
jobs=${BROWSER_JOBS:-2}
[ -z "${SESSIONHUB_TEST_LOAD:-}" ] || jobs=1

printf '%s\0' "${files[@]}" | xargs -0 -P "$jobs" -n 1 ../scripts/test-browser.sh --one ||
	{ echo "== browser tests: FAILED, see above" >&2; exit 1; }
echo "== browser tests: ${#files[@]} files passed"
