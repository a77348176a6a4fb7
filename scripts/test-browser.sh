#!/usr/bin/env bash
# Runs the browser tests, a file at a time. All of them run, also after a failure,
# and each runs once: a test that is right only now and then is a failure.
#
#   scripts/test-browser.sh [NAME...]   only e2e/NAME.test.mjs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

files=(e2e/*.test.mjs)
[ $# = 0 ] || { files=("${@/#/e2e/}"); files=("${files[@]/%/.test.mjs}"); }

failed=()
for file in "${files[@]}"; do
	node --import tsx --test --test-concurrency=1 "$file" || failed+=("$file")
done
[ ${#failed[@]} = 0 ] || { printf '== failed: %s\n' "${failed[*]}" >&2; exit 1; }
